"""Who may ask: an API key for everything but health, metrics, the page and the documentation."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import problems
from service.api.keys import ApiKeys

# `/info` is not among them: what is served, and where it comes from, is for those who may ask it.
# `/metrics` is, as scrapers expect; `CYBERSOLVE_METRICS_PORT` takes it where strangers cannot go.
_OPEN = frozenset({"/", "/livez", "/readyz", "/metrics", "/docs", "/openapi.json", "/favicon.ico"})
_OPEN_FOLDERS = ("/v2/health/", "/page/")


class RequireKey:
    """Answers 401 to a request without a known key, before its body is read.

    A key comes as `Authorization: Bearer KEY` or as `x-api-key: KEY`. Its name goes into the
    request's record.
    """

    def __init__(self, app: ASGIApp, keys: ApiKeys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            key = _presented(scope["headers"])
            owner = None if key is None else self._keys.owner(key)
            if owner is None:
                await problems.unauthorized(wrong=key is not None)(scope, receive, send)
                return
            scope["state"]["record"].key = owner
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """By the very path that the router goes by: no spelling passes here and matches there."""
    return path in _OPEN or path.startswith(_OPEN_FOLDERS)


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    for name, value in headers:
        if name == b"x-api-key":
            return value
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
    return None
