"""What a call wants done, as values, and what may come of it."""

from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from cybersolve_client.errors import ConnectionFailed, ConnectionRefused, DeadlineExceeded

_MOST_TIMEOUT_MS = 600_000  # that the service takes
Result = TypeVar("Result")


@dataclass(frozen=True)
class Send:
    """A request. The body of a response to a `stream` is read only where it is an error's."""

    method: str
    path: str
    headers: Mapping[str, str]
    timeout_s: float
    body: bytes | None = None
    stream: bool = False


@dataclass(frozen=True)
class Sleep:
    seconds: float


Call = Generator[Send | Sleep, httpx.Response | None, Result]  # None comes of a `Sleep`


@dataclass(frozen=True)
class Asking:
    """What is asked for, whatever the attempt."""

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


@contextmanager
def transport_faults() -> Iterator[None]:
    """The errors of httpx as those of this package."""
    try:
        yield
    except httpx.ConnectError as error:
        raise ConnectionRefused(str(error)) from error
    except httpx.TimeoutException as error:
        raise DeadlineExceeded("the server did not answer in time") from error
    except httpx.TransportError as error:
        raise ConnectionFailed(str(error) or type(error).__name__) from error
