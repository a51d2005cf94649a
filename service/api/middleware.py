"""What happens to every request: an id, a bound on its body, and its line in the metrics."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Collection

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import problems
from service.metrics import Metrics

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestScope:
    """Gives each request an id (`x-request-id`, the caller's own if it fits) and measures it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str | None]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500  # of a request that ends without a response
        started = time.perf_counter()

        async def labelled(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, labelled)
            finally:
                # Unknown paths share one label, or strangers could add series.
                route = scope["path"] if scope["path"] in self._paths else "unmatched"
                self._metrics.requests.labels(route, str(status)).inc()
                elapsed_s = time.perf_counter() - started
                self._metrics.request_duration.labels(route).observe(elapsed_s)


class BodyLimit:
    """Answers 413 to a body over `max_bytes`, before anything parses it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._whole_body(receive)
        except ClientDisconnect:
            await problems.gone()(scope, receive, send)
            return
        except asyncio.CancelledError:  # the server ends, and waits for no body
            await problems.shutting_down()(scope, receive, send)
            return
        if body is None:
            await problems.too_large(self._max_bytes)(scope, receive, send)
            return
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)

    async def _whole_body(self, receive: Receive) -> bytes | None:
        """The body, or `None` as soon as it is over the limit. Raises `ClientDisconnect`."""
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


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return uuid.uuid4().hex
