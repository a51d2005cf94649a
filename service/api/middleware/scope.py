"""The outermost middleware: add an id and safe headers, count the request and log it."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterable

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.record import UNMATCHED, RequestRecord
from service.metrics import Metrics
from service.tracing import PROBES, trace_id

_LOG = logging.getLogger("service.requests")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),  # answers must not be cached; the page sets its own value
)


class RequestScope:
    """Give each request an id (`x-request-id`, the client's if valid), measure it and log it.

    The log has questions only with `log_questions`, and never a key, a query or a body. `paths` are
    those of the OpenAPI document, for requests that are rejected before routing.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, paths: Iterable[str], *, log_questions: bool
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._exact = frozenset(paths)
        self._patterns = [(compile_path(path)[0], path) for path in paths]
        self._log_questions = log_questions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord.of(scope, _request_id(scope), trace_id(scope))
        started = time.perf_counter()

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = _labelled(message.get("headers", ()), record.request_id)
            else:
                record.sent_bytes += len(message.get("body", b""))
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, labelled)
        finally:
            self._metrics.in_flight.dec()
            record.duration_s = time.perf_counter() - started
            record.route = self._route(scope)
            self._ended(record)

    def _route(self, scope: Scope) -> str:
        if (path := scope["path"]) in self._exact:
            return str(path)
        if (route := scope.get("route")) is not None:
            return str(route.path)
        alike = (path for pattern, path in self._patterns if pattern.match(scope["path"]))
        return next(alike, UNMATCHED)

    def _ended(self, record: RequestRecord) -> None:
        self._metrics.request(record.route, record.status, record.duration_s)
        level = logging.DEBUG if record.route.startswith(PROBES) else logging.INFO
        if _LOG.isEnabledFor(level):
            fields = record.fields(with_questions=self._log_questions)
            what = (record.method, record.path, record.status)
            _LOG.log(level, "%s %s %d", *what, extra={"fields": fields})


def _labelled(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """Return `headers`, the request's id, and the safe headers that they do not set themselves."""
    all_headers = [*headers, (b"x-request-id", request_id.encode())]
    names = {name for name, _ in all_headers}
    return all_headers + [header for header in _SAFE_HEADERS if header[0] not in names]


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(16)
