"""uvicorn's HTTP protocol with bounds on what a stranger may make it keep before any application
sees a request: how large a head is, how long a request takes to arrive, how many wait in line.

uvicorn with httptools bounds none of these; its keep-alive timeout begins with the first answer.
How large a body may be, and what a slow one is told, is for `service.api.middleware.body`.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.handles import RefusedConnections, few_handles_left

MAX_HEAD_BYTES = 32_768  # of request line and headers; what one read brings on top is let through
MAX_HEADERS = 100
MAX_PIPELINED = 32  # requests of one connection behind the one that is being answered


_REFUSED = RefusedConnections()  # of all servers of the process


class _Refused(Exception):
    """A request that is not read to its end: httptools gives up on the connection."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Overrides what asyncio and httptools call, and what uvicorn refuses with."""

    receive_timeout_s = 30.0  # for a head to arrive, and then for its body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_head = True
        self._head_bytes = 0
        self._refusal = HTTPStatus.BAD_REQUEST
        self._overdue: asyncio.TimerHandle | None = None
        self._expect_within(self.receive_timeout_s)
        if few_handles_left(transport):
            _REFUSED.count(self.loop.time())
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._overdue is None and (self._head_bytes or not self._in_head):
            # A part of a request. For a body: once for it to arrive, and as long again for its
            # caller to read why it was refused. What comes whole, as most do, needs no clock.
            self._expect_within(self.receive_timeout_s * (1 if self._in_head else 2))

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn for what is no HTTP, or was refused here; nobody answers this."""
        self._refuse(self._refusal)

    # -- called by httptools -----------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= MAX_HEADERS:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise _Refused
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refusal = HTTPStatus.TOO_MANY_REQUESTS
            raise _Refused
        super().on_headers_complete()
        self._in_head, self._head_bytes = False, 0
        self._expect_nothing()

    def on_message_complete(self) -> None:
        self._in_head = True
        self._expect_nothing()
        super().on_message_complete()

    # -- bounds ------------------------------------------------------------------------------------

    def _expect_within(self, timeout_s: float) -> None:
        self._overdue = self.loop.call_later(timeout_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _expect_nothing(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _refuse(self, status: HTTPStatus) -> None:
        """End the connection; with a word where no answer is under way or has been given."""
        if self.transport.is_closing():
            return
        if self._unanswered():
            self.transport.write(_answer(status, self.server_state.default_headers))
        self.transport.close()

    def _unanswered(self) -> bool:
        """Whether a request has begun that no answer is under way for, and none before it."""
        if self._in_head:
            return self._head_bytes > 0 and (self.cycle is None or self.cycle.response_complete)
        return not self.cycle.response_started and not self.pipeline


def bounded_protocol(receive_timeout_s: float) -> type[BoundedProtocol]:
    """The class that uvicorn makes an instance of for each connection."""
    return type("BoundedProtocol", (BoundedProtocol,), {"receive_timeout_s": receive_timeout_s})


def _answer(status: HTTPStatus, headers: list[tuple[bytes, bytes]]) -> bytes:
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": "the request was not read: it is no HTTP, too large or too slow",
    }
    body = json.dumps(problem).encode()
    lines = [
        b"HTTP/1.1 %d %s" % (status, status.phrase.encode()),
        *(b"%s: %s" % header for header in headers),
        b"content-type: application/problem+json",
        b"content-length: %d" % len(body),
        b"x-content-type-options: nosniff",
        b"cache-control: no-store",
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", body])
