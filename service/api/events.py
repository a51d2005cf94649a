"""Server-sent events (WHATWG HTML, section 9.2), written as their source yields them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from service.api.disconnect import while_connected
from service.errors import ClientDisconnected


def event(body: BaseModel, name: str | None = None) -> bytes:
    """Return one event. JSON has no line breaks, so one `data` line holds it."""
    return (f"event: {name}\n" if name else "").encode() + data(body.model_dump_json())


def data(line: str) -> bytes:
    """Return an event without a name, of one line."""
    return f"data: {line}\n\n".encode()


class EventStream(Response):
    """Send `first` and the `rest` as they arrive; close their source on a disconnect."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        # Proxies must not buffer events.
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(ClientDisconnected):
            await while_connected(Request(scope, receive), self._send(send))

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._rest):
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for written in self._rest:
                await send({"type": "http.response.body", "body": written, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
