"""The client for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self, Unpack

import httpx

from cybersolve_client.answers import Answer, Fallback, Generation, Info, Piece, Problem
from cybersolve_client.calls import Calls
from cybersolve_client.clock import Clock
from cybersolve_client.events import Events
from cybersolve_client.retries import Retries
from cybersolve_client.settings import Settings
from cybersolve_client.steps import Call, Result, Send, Sleep, require_http, transport_faults


class AsyncClient:
    """A client of one service, which tasks may share. Call `aclose`, or use it in an `async with`.

    Every method raises `CyberSolveError` and takes at most `timeout` seconds, retries included.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float = 30.0,
        retries: Retries | None = None,
        clock: Clock | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Tests replace `clock`. A `transport` can set a proxy or certificates."""
        self._clock = clock or Clock()
        self._calls = Calls(
            api_key=api_key, timeout_s=timeout, retries=retries or Retries(), clock=self._clock
        )
        self._http = httpx.AsyncClient(base_url=require_http(base_url), transport=transport)

    async def solve(
        self,
        question: str,
        *,
        fallback: Fallback = "none",
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Solve one question; `fallback="exact"` replaces an answer that is not correct."""
        return await self._run(self._calls.solve(question, fallback, timeout, request_id))

    async def solve_many(
        self,
        questions: Sequence[str],
        *,
        fallback: Fallback = "none",
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> list[Answer | Problem]:
        """Return an answer or a problem for each question, in order.

        Sends as few requests as the server's limits allow; `timeout` applies to each. An error that
        ends the call has the `outcomes` of the requests before it.
        """
        return await self._run(self._calls.solve_many(questions, fallback, timeout, request_id))

    async def generate(
        self,
        text: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> Generation:
        """Return the complete text that the model generates for `text`."""
        return await self._run(self._calls.generate(text, settings, timeout, request_id))

    async def generate_many(
        self,
        texts: Sequence[str],
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> list[Generation | Problem]:
        """Return a generation or a problem for each text, in order; see `solve_many`."""
        return await self._run(self._calls.generate_many(texts, settings, timeout, request_id))

    @asynccontextmanager
    async def stream(
        self,
        text: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> AsyncIterator[AsyncStream]:
        """Stream the text that the model generates for `text`.

        Iterate over the stream for the text alone, or over its `pieces()` for the tokens too.
        """
        call = self._calls.stream(text, settings, timeout, request_id)
        response, events = await self._run(call)
        try:
            yield AsyncStream(response, events)
        finally:
            await response.aclose()

    async def info(self) -> Info:
        """Return the served model and the limits of the service."""
        return await self._run(self._calls.info())

    async def ready(self) -> bool:
        """Return whether the server accepts questions now."""
        return await self._run(self._calls.ready())

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the server is ready.

        Raises the last error (`Unavailable`, `ConnectionRefused`) after `timeout`.
        """
        await self._run(self._calls.wait_until_ready(timeout))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self, call: Call[Result]) -> Result:
        step = partial(next, call)
        while True:
            try:
                action = step()
            except StopIteration as end:
                result: Result = end.value
                return result
            try:
                step = partial(call.send, await self._do(action))
            except httpx.RequestError as error:
                step = partial(call.throw, error)

    async def _do(self, action: Send | Sleep) -> httpx.Response | None:
        if isinstance(action, Sleep):
            await self._clock.sleep_async(action.seconds)
            return None
        request = self._http.build_request(
            action.method, action.path, headers=action.headers, content=action.body,
            timeout=action.timeout_s,
        )  # fmt: skip
        response = await self._http.send(request, stream=True)
        if not (action.stream and response.is_success):
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


class AsyncStream:
    """A text as it is generated, read once: in strings, or in `pieces()`.

    `generation` is the complete text once all of it has been read.
    """

    def __init__(self, response: httpx.Response, events: Events) -> None:
        self._response = response
        self._events = events

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the text in parts."""
        async for piece in self.pieces():
            if piece.text:
                yield piece.text

    async def pieces(self) -> AsyncIterator[Piece]:
        """Yield the text in parts, with `logprobs` each with its tokens."""
        with transport_faults():
            async for chunk in self._response.aiter_bytes():
                for piece in self._events.feed(chunk):
                    yield piece
        self._events.finish()

    @property
    def generation(self) -> Generation | None:
        return self._events.generation
