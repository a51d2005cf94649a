"""The page at `/`, the reference at `/docs`, and the files of both.

The files are plain, without a build step, and are read once when the router is made. They load
nothing from other origins and show data of the service's own routes.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, HTTPException, Request, Response

_FOLDER = "/page/"
_PLACES = {"index.html": "/", "docs.html": "/docs"}  # all other files, in `_FOLDER`
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS: Mapping[str, str] = {
    "cache-control": "no-cache",  # cached but revalidated: an unchanged file costs a 304
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "accept-encoding",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class _File:
    """One file as it is sent, plain and compressed, with the headers of both."""

    plain: bytes
    compressed: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, name: str, content: bytes) -> _File:
        media_type = _MEDIA_TYPES[name[name.rindex(".") :]]
        # Weak: both encodings share it (RFC 9110, 8.8.1).
        etag = f'W/"{hashlib.sha256(content).hexdigest()[:20]}"'
        return cls(content, gzip.compress(content, mtime=0), media_type, etag)

    def respond(self, request: Request) -> Response:
        headers = {**HEADERS, "etag": self.etag}
        known = request.headers.get("if-none-match", "").split(",")
        if self.etag in map(str.strip, known):
            return Response(status_code=304, headers=headers)
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self.plain, headers=headers, media_type=self.media_type)
        headers["content-encoding"] = "gzip"
        return Response(self.compressed, headers=headers, media_type=self.media_type)


def router() -> APIRouter:
    """Return a router for the two documents and for all other files beside this module."""
    routes = APIRouter()
    read = {name: _File.read(name, content) for name, content in _contents().items()}

    async def document(request: Request) -> Response:
        return documents[request.scope["path"]].respond(request)

    async def other(request: Request, name: str) -> Response:
        if name not in others:
            raise HTTPException(404)
        return others[name].respond(request)

    documents = {path: read.pop(name) for name, path in _PLACES.items()}
    others = read
    for path in documents:
        routes.add_api_route(path, document, include_in_schema=False)
    routes.add_api_route(_FOLDER + "{name}", other, include_in_schema=False)
    return routes


def path_of(name: str) -> str:
    return _PLACES.get(name, _FOLDER + name)


def _contents() -> dict[str, bytes]:
    folder = files(__name__)
    return {
        entry.name: entry.read_bytes()
        for entry in folder.iterdir()
        if entry.name.endswith(tuple(_MEDIA_TYPES))
    }
