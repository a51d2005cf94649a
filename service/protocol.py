"""uvicorn's HTTP protocol with limits that apply before an application sees a request.

They limit the number of connections, the size of a head, the time that a request takes to arrive,
and the number of pipelined requests. uvicorn with httptools limits none of these; its keep-alive
timeout begins with the first answer. `service.api.middleware.body` limits the size of bodies and
answers slow ones.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.connection import BODY_ARRIVED, CONNECTION, Connection
from service.handles import RefusedConnections, few_handles_left
from service.turn_writes import HeldTransport, TurnWrites

MAX_HEAD_BYTES = (
    32_768  # bytes of request line and headers together, or of the trailers of a chunked body
)
MAX_HEADERS = 100
MAX_PIPELINED = 32  # pipelined requests behind the one that is being answered

_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")  # RFC 9110, 7.2
_HOP_BY_HOP = (b"connection", b"upgrade", b"http2-settings")
_DETAILS = {
    HTTPStatus.BAD_REQUEST: "not HTTP/1.1; expected one request line, one Host, and whole headers",
    HTTPStatus.REQUEST_TIMEOUT: "the request took too long to arrive",
    HTTPStatus.TOO_MANY_REQUESTS: f"over {MAX_PIPELINED} requests wait on this connection",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: (
        f"the head is over {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers"
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: "too many connections",
}


@dataclass
class ConnectionBounds:
    """The limits for the connections of one server, and whether answers close them."""

    receive_timeout_s: float = 30.0  # for a head to arrive, and again for its body
    max_connections: int = 1024
    refused: Callable[[], None] = lambda: None  # callback that counts a refused connection
    closing: bool = False  # every answer closes its connection


# Shared by all servers in the process.
_FEW_HANDLES = RefusedConnections()
_MANY_CONNECTIONS = RefusedConnections()


class _Refused(Exception):
    """Raised in a callback of httptools to stop reading the connection."""


class _Offer(NamedTuple):
    """The head of a request that offers another protocol."""

    method: bytes
    url: bytes
    version: str
    headers: list[tuple[bytes, bytes]]

    def declined(self) -> bytes:
        """Return the same head without the offer, which a server may ignore (RFC 9110, 7.8)."""
        kept = [(name, value) for name, value in self.headers if name not in _HOP_BY_HOP]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.lower().split(b",")]
                kept += [(name, option) for option in options if option not in _HOP_BY_HOP]
        lines = [b"%b %b HTTP/%b" % (self.method, self.url, self.version.encode())]
        lines += [b"%b: %b" % header for header in kept]
        return b"\r\n".join([*lines, b"", b""])


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Overrides the callbacks of asyncio and httptools that need bounds."""

    bounds = ConnectionBounds()
    turn: TurnWrites  # of the server, whose connections share an event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        held = HeldTransport(transport, self.loop, self.turn)
        super().connection_made(cast("asyncio.Transport", held))
        self._connection = Connection(self.flow.resume_reading)
        self._in_head = True
        self._head_bytes = 0  # as received
        self._read_bytes = 0  # bytes of the head that the parser has reported
        self._between_bytes = 0  # bytes of a body's framing since its last piece
        self._offer: _Offer | None = None
        self._refusal = HTTPStatus.BAD_REQUEST
        self._overdue: asyncio.TimerHandle | None = None
        if few_handles_left(transport):
            _FEW_HANDLES.count(self.loop.time(), "too few file handles are free")
            self.bounds.refused()
            transport.abort()
            return
        if len(self.connections) > self.bounds.max_connections:
            reason = f"there are {self.bounds.max_connections}"
            _MANY_CONNECTIONS.count(self.loop.time(), reason)
            self.bounds.refused()
            transport.write(_answer(HTTPStatus.SERVICE_UNAVAILABLE, ()))
            transport.close()
            return
        self._expect_within(self.bounds.receive_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_nothing()
        super().connection_lost(exc)
        self._connection.lose()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._between_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.transport.is_closing():
            return
        head_bytes = self._head_bytes if self._in_head else self._between_bytes
        if head_bytes > MAX_HEAD_BYTES:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif self._overdue is None and (self._head_bytes or not self._in_head):
            # A part of a request has arrived. A body has this time to arrive, and its client as
            # long again to read why it was rejected. Most requests arrive whole and need no timer.
            self._expect_within(self.bounds.receive_timeout_s * (1 if self._in_head else 2))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal)

    def _decline(self, rest: bytes) -> None:
        """Parse a request that offers another protocol again, without the offer.

        httptools treats the bytes after such a head as the other protocol, and loses the body.
        """
        if self._offer is None:  # CONNECT, whose target is not one of our resources
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        head, self._offer = self._offer.declined(), None
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed(head + rest)

    # -- called by httptools -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._read_bytes = 0
        super().on_message_begin()
        self.scope["state"][CONNECTION] = self._connection

    def on_url(self, url: bytes) -> None:
        self._read(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._read(len(name) + len(value) + 4)
        if not self._in_head:
            return  # a trailer, which must not be merged into the headers (RFC 9110, 6.5.1)
        if len(self.headers) >= MAX_HEADERS:
            raise self._refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        version = self.parser.get_http_version()
        if not _has_host(self.headers, version):
            raise self._refused(HTTPStatus.BAD_REQUEST)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise self._refused(HTTPStatus.TOO_MANY_REQUESTS)
        method = self.parser.get_method()
        if self.parser.should_upgrade():
            if method != b"CONNECT":
                self._offer = _Offer(method, self.url, version, self.headers)
            return
        super().on_headers_complete()
        self._in_head, self._head_bytes, self._read_bytes, self._between_bytes = False, 0, 0, 0
        self._expect_nothing()
        if self.bounds.closing:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._between_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_head:  # an offer, whose body is not read yet
            return
        self._in_head = True
        self._expect_nothing()
        self.scope["state"][BODY_ARRIVED] = True
        super().on_message_complete()

    # -- called by the server ----------------------------------------------------------------------

    def close_after_answer(self) -> None:
        """Close the connection after the answer in progress; do nothing if there is none."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    # -- bounds ------------------------------------------------------------------------------------

    def _read(self, count: int) -> None:
        self._read_bytes += count
        if self._read_bytes > MAX_HEAD_BYTES:
            raise self._refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def _refused(self, status: HTTPStatus) -> _Refused:
        self._refusal = status
        return _Refused()

    def _expect_within(self, timeout_s: float) -> None:
        self._overdue = self.loop.call_later(timeout_s, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _expect_nothing(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _refuse(self, status: HTTPStatus) -> None:
        """Close the connection, with `status` if its request has no answer yet."""
        if self.transport.is_closing():
            return
        if self._unanswered():
            self.transport.write(_answer(status, self.server_state.default_headers))
        self.transport.close()

    def _unanswered(self) -> bool:
        """Return whether a request has begun, has no answer yet, and has none before it."""
        if self._in_head:
            return self._head_bytes > 0 and (self.cycle is None or self.cycle.response_complete)
        return not self.cycle.response_started and not self.pipeline


def bounded_protocol(bounds: ConnectionBounds) -> type[BoundedProtocol]:
    """Return the class that uvicorn instantiates for each connection of one server."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds, "turn": TurnWrites()})


def _has_host(headers: list[tuple[bytes, bytes]], version: str) -> bool:
    """Return whether there is one valid Host, optional in HTTP/1.0 (RFC 9112, 3.2)."""
    hosts = [value for name, value in headers if name == b"host"]
    if not hosts:
        return version == "1.0"
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


def _answer(status: HTTPStatus, headers: list[tuple[bytes, bytes]] | tuple[()]) -> bytes:
    problem = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": _DETAILS[status],
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
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(b"retry-after: 1")
    return b"\r\n".join([*lines, b"", body])
