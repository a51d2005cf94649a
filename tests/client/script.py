"""A server that follows a script, a clock that tests turn, and both clients behind one face."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from cybersolve_client import AsyncClient, Client, Clock, CyberSolveError, Piece, Retries

Line = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
Error = TypeVar("Error", bound=CyberSolveError)
WALL_S = 1_790_000_000.0


class TurnedClock(Clock):
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sleeps_s: list[float] = []

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_s(self) -> float:
        return WALL_S + self.now_s

    def sleep(self, seconds: float) -> None:
        self.sleeps_s.append(seconds)
        self.now_s += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class Script(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers requests with its lines, one after the other, and keeps what was asked."""

    def __init__(self, *lines: Line) -> None:
        self.requests: list[httpx.Request] = []
        self.clock = TurnedClock()
        self._lines: Iterator[Line] = iter(lines)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        line = next(self._lines)
        if isinstance(line, Exception):
            raise line
        return line if isinstance(line, httpx.Response) else line(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.handle_request(request)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests if request.content]


class Face:
    """A client of one kind. What is said of it must hold for both."""

    def __init__(self, asynchronous: bool) -> None:
        self._asynchronous = asynchronous

    def ask(self, script: Script, call: Callable[[Any], Any], **options: Any) -> Any:
        """Return the result of `call`, blocking or awaited."""
        options = {
            "clock": script.clock, "transport": script,
            "retries": Retries(random=lambda: 0.5), **options,
        }  # fmt: skip
        base_url = options.pop("base_url", "http://test")
        if not self._asynchronous:
            with Client(base_url, **options) as client:
                return call(client)

        async def awaited() -> Any:
            async with AsyncClient(base_url, **options) as client:
                result = call(client)
                return await result if inspect.isawaitable(result) else result

        return asyncio.run(awaited())

    def fails(
        self,
        kind: type[Error],
        script: Script,
        call: Callable[[Any], Any],
        *,
        exactly: bool = True,
        **options: Any,
    ) -> Error:
        """Return the error that `call` raises, `exactly` of this kind or of one below it."""
        with pytest.raises(kind) as raised:
            self.ask(script, call, **options)
        assert not exactly or type(raised.value) is kind
        return raised.value

    def read(self, script: Script, pieces: list[str], **options: Any) -> Any:
        """Return the generation of a stream whose texts are added to `pieces`."""
        return self._read(script, pieces, lambda stream: stream, options)

    def read_pieces(self, script: Script, pieces: list[Piece], **options: Any) -> Any:
        """Return the generation of a stream whose pieces are added to `pieces`."""
        return self._read(script, pieces, lambda stream: stream.pieces(), options)

    def _read(
        self,
        script: Script,
        found: list[Any],
        items: Callable[[Any], Any],
        options: dict[str, Any],
    ) -> Any:
        """Add the `items` of a stream to `found`; return its generation."""
        if not self._asynchronous:

            def blocking(client: Client) -> Any:
                with client.stream("Hello", **options) as stream:
                    found.extend(items(stream))
                    return stream.generation

            return self.ask(script, blocking)

        async def awaiting(client: AsyncClient) -> Any:
            async with client.stream("Hello", **options) as stream:
                async for item in items(stream):
                    found.append(item)
                return stream.generation

        return self.ask(script, awaiting)


def answer(**fields: Any) -> dict[str, Any]:
    usual = {
        "answer": "5", "solution": {"x": "5"}, "variable": "x", "verdict": "correct",
        "reason": None, "source": "model", "equation": "3*x = 15", "work": ["3*x = 15", "x = 5"],
        "confidence": 0.9, "tries": 1, "model": {"name": "tiny", "version": "1"},
        "timing_ms": {"queue": 0.1, "inference": 2.0, "total": 2.5}, "more": "of a newer server",
    }  # fmt: skip
    return {**usual, **fields}


def problem(status: int, detail: str = "so it is", **fields: Any) -> dict[str, Any]:
    return {"type": "about:blank", "title": "A Title", "status": status, "detail": detail, **fields}


def failing(
    status: int, headers: dict[str, str] | None = None, **fields: Any
) -> Callable[[httpx.Request], httpx.Response]:
    """A line that may be said again: clients use responses up."""
    kind = {"content-type": "application/problem+json", **(headers or {})}
    body = problem(status, **fields)
    return lambda _: httpx.Response(status, json=body, headers=kind)


def answering(request: httpx.Request) -> httpx.Response:
    return httpx.Response(
        200, json=answer(), headers={"x-request-id": request.headers["x-request-id"]}
    )


def cannot_connect(cause: BaseException | None = None, text: str = "refused") -> httpx.ConnectError:
    """The error of httpx that has `cause` two levels down, as its transports raise it."""
    error, between = httpx.ConnectError(text), OSError(text)
    error.__cause__, between.__cause__ = between, cause
    return error


def refused() -> httpx.ConnectError:
    return cannot_connect(ConnectionRefusedError(111, "Connection refused"))


def events(*chunks: bytes) -> httpx.Response:
    return httpx.Response(
        200,
        headers={"content-type": "text/event-stream", "x-request-id": "given"},
        stream=Chunks(chunks),
    )


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks

    async def __aiter__(self) -> Any:
        for chunk in self._chunks:
            yield chunk
