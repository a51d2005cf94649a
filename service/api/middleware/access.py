"""Require an API key for every route but health, metrics, the page and the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import problems
from service.api.keys import ApiKeys

# `/info` needs a key: the model and its provenance concern only clients that may use it. `/metrics`
# is open, as scrapers expect; `CYBERSOLVE_METRICS_PORT` moves it out of the reach of clients.
_OPEN = frozenset(
    {"/", "/livez", "/readyz", "/health", "/metrics", "/docs", "/openapi.json", "/favicon.ico"}
)
_OPEN_FOLDERS = ("/v2/health/", "/page/")


class RequireKey:
    """Reject requests without a known key with 401, before their bodies are read.

    A key comes as `Authorization: Bearer KEY` or as `x-api-key: KEY`. The record of
    the request has the key's name.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["method"], scope["path"]):
            key = _presented(scope["headers"])
            owner = None if key is None else self._keys.owner(key)
            if owner is None:
                await problems.unauthorized(wrong=key is not None)(scope, receive, send)
                return
            scope["state"]["record"].key = owner
        await self._app(scope, receive, send)


def is_open(method: str, path: str) -> bool:
    """Return whether a request needs no key: only reading is open, `POST /` is not.

    The router matches the same path, so no other spelling of a protected path passes.
    """
    reads = method in ("GET", "HEAD")
    return reads and (path in _OPEN or path.startswith(_OPEN_FOLDERS))


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"x-api-key":
            return value
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return None
