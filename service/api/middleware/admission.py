"""Reject requests before any work: while the queue is full, without an engine, or at shutdown."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import problems
from service.errors import ServiceError


class RequireAdmission:
    """Answer a `POST` with its `rejection`, if it has one, before its body is read.

    So a rejection costs little, and thousands of them do not take the processor from the requests
    that are answered. Only a `POST` needs an engine; other requests always pass.
    """

    def __init__(self, app: ASGIApp, rejection: Callable[[], ServiceError | None]) -> None:
        self._app = app
        self._rejection = rejection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            rejection = self._rejection()
            if rejection is not None:
                answer = problems.refused(rejection, scope["state"]["request_id"])
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
