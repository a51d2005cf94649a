"""The innermost middleware: answer unhandled errors, so that they are measured like any answer."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems

_LOG = logging.getLogger(__name__)


class UnhandledErrors:
    """Answer 500 if the application raises, with the request's id and no details of the error.

    An answer that has begun cannot be withdrawn. The server then cuts the connection, so that the
    client does not mistake a part for the whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if scope["type"] != "http" or started:
                raise
            request_id = scope["state"]["request_id"]
            _LOG.error("request %s: this is a bug", request_id, exc_info=error)
            await problems.unexpected(request_id)(scope, receive, send)
