"""Steps of a call as values, and the results that they may have."""

from __future__ import annotations

import json
import math
import socket
import ssl
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from cybersolve_client.errors import (
    CannotConnect,
    ConnectionFailed,
    ConnectionRefused,
    CyberSolveError,
    DeadlineExceeded,
    HostNotFound,
    InvalidRequest,
    ServerError,
    TLSFailed,
)

_MOST_TIMEOUT_MS = 600_000  # that the service accepts
Result = TypeVar("Result")


@dataclass(frozen=True)
class Send:
    """An HTTP request. With `stream`, the body of the response is read only if it is an error."""

    method: str
    path: str
    headers: Mapping[str, str]
    timeout_s: float
    body: bytes | None = None
    stream: bool = False


@dataclass(frozen=True)
class Sleep:
    seconds: float


Call = Generator[Send | Sleep, httpx.Response | None, Result]  # None is the result of a `Sleep`


@dataclass(frozen=True)
class Asking:
    """The parts of a request that are equal in all attempts."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    stream: bool = False

    def send(self, headers: Mapping[str, str], timeout_s: float) -> Send:
        if self.body is None:
            return Send(self.method, self.path, headers, timeout_s)
        left_ms = max(1, math.ceil(1000 * timeout_s))
        body = {**self.body, "timeout_ms": min(_MOST_TIMEOUT_MS, left_ms)}
        kind = {"content-type": "application/json"}
        encoded = json.dumps(body).encode()
        return Send(self.method, self.path, {**headers, **kind}, timeout_s, encoded, self.stream)


def require_http(base_url: str) -> str:
    """Return `base_url`. Raises `ValueError` if it has no scheme or host."""
    url = httpx.URL(base_url)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"base_url is {base_url!r}; expected http://HOST or https://HOST")
    return base_url


@contextmanager
def transport_faults() -> Iterator[None]:
    """Translate the errors of httpx into those of this package."""
    try:
        yield
    except httpx.RequestError as error:
        raise _error_of(error) from error


_IN_TIME: Mapping[type[httpx.TimeoutException], str] = {
    httpx.ConnectTimeout: "no connection was made in time",
    httpx.PoolTimeout: "no connection of this client became free in time",
}
_OF_THE_SYSTEM: Mapping[type[Exception], type[ConnectionFailed]] = {
    socket.gaierror: HostNotFound,
    ssl.SSLError: TLSFailed,
    ConnectionRefusedError: ConnectionRefused,
}


def _error_of(error: httpx.RequestError) -> CyberSolveError:
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return DeadlineExceeded(_IN_TIME.get(type(error), "the server did not answer in time"))
    if isinstance(error, httpx.ConnectError):
        return _connect_error(error)(f"{reason} ({error.request.url.netloc.decode()})")
    if isinstance(error, httpx.LocalProtocolError):
        return InvalidRequest(f"the request cannot be sent: {reason}")
    if isinstance(error, httpx.DecodingError):
        return ServerError(f"the response cannot be decoded: {reason}")
    return ConnectionFailed(reason)


def _connect_error(error: httpx.ConnectError) -> type[ConnectionFailed]:
    """Return the error for the operating system's, which httpx keeps as a cause."""
    causes = list(_causes(error))
    for kind, result in _OF_THE_SYSTEM.items():
        if any(isinstance(cause, kind) for cause in causes):
            return result
    return CannotConnect


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and all its causes; several addresses of a host fail as a group."""
    yield error
    for cause in (error.__cause__ or error.__context__, *getattr(error, "exceptions", ())):
        if cause is not None:
            yield from _causes(cause)
