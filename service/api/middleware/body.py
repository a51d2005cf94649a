"""Limit the size of a body and the time it takes to arrive, before anything parses it."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.connection import BODY_ARRIVED


class BodyBounds:
    """Reject a body over `max_bytes` with 413, and one that is late (`timeout_s`) with 408.

    A body whose `content-length` is too large is not read at all. The server closes the connection
    of a client that continues to send (`service.protocol`).
    """

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._whole_body(scope, receive)
        except ClientDisconnect:
            await problems.disconnected()(scope, receive, send)
            return
        except TimeoutError:
            await problems.too_slow(self._timeout_s)(scope, receive, send)
            return
        except asyncio.CancelledError:  # the server shuts down and waits for no body
            await problems.shutting_down()(scope, receive, send)
            return
        if body is None:
            await problems.too_large(self._max_bytes)(scope, receive, send)
            return
        await self._app(scope, replayed(body, receive), send)

    def _is_announced_too_large(self, scope: Scope) -> bool:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return int(value[:20]) > self._max_bytes  # 20 digits are too large in any case
        return False

    async def _whole_body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body, or `None` as soon as it exceeds the limit or is announced to.

        Raises `ClientDisconnect`, and `TimeoutError` when the time is over.
        """
        if self._is_announced_too_large(scope):
            return None
        if BODY_ARRIVED in scope["state"]:  # most arrive with the head, and need no timer
            return await self._read(receive)
        async with asyncio.timeout(self._timeout_s):
            return await self._read(receive)

    async def _read(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives `body`, which was already read, and then later messages."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
