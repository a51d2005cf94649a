"""The blocking client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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


class Client:
    """A client of one service, which threads may share. Call `close`, or use it in a `with`.

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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Tests replace `clock`. A `transport` can set a proxy or certificates."""
        self._clock = clock or Clock()
        self._calls = Calls(
            api_key=api_key, timeout_s=timeout, retries=retries or Retries(), clock=self._clock
        )
        self._http = httpx.Client(base_url=require_http(base_url), transport=transport)

    def solve(
        self,
        question: str,
        *,
        fallback: Fallback = "none",
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Solve one question; `fallback="exact"` replaces an answer that is not correct."""
        return self._run(self._calls.solve(question, fallback, timeout, request_id))

    def solve_many(
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
        return self._run(self._calls.solve_many(questions, fallback, timeout, request_id))

    def generate(
        self,
        text: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> Generation:
        """Return the complete text that the model generates for `text`."""
        return self._run(self._calls.generate(text, settings, timeout, request_id))

    def generate_many(
        self,
        texts: Sequence[str],
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> list[Generation | Problem]:
        """Return a generation or a problem for each text, in order; see `solve_many`."""
        return self._run(self._calls.generate_many(texts, settings, timeout, request_id))

    @contextmanager
    def stream(
        self,
        text: str,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **settings: Unpack[Settings],
    ) -> Iterator[Stream]:
        """Stream the text that the model generates for `text`.

        Iterate over the stream for the text alone, or over its `pieces()` for the tokens too.
        """
        call = self._calls.stream(text, settings, timeout, request_id)
        response, events = self._run(call)
        try:
            yield Stream(response, events)
        finally:
            response.close()

    def info(self) -> Info:
        """Return the served model and the limits of the service."""
        return self._run(self._calls.info())

    def ready(self) -> bool:
        """Return whether the server accepts questions now."""
        return self._run(self._calls.ready())

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the server is ready.

        Raises the last error (`Unavailable`, `ConnectionRefused`) after `timeout`.
        """
        self._run(self._calls.wait_until_ready(timeout))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, call: Call[Result]) -> Result:
        step = partial(next, call)
        while True:
            try:
                action = step()
            except StopIteration as end:
                result: Result = end.value
                return result
            try:
                step = partial(call.send, self._do(action))
            except httpx.RequestError as error:
                step = partial(call.throw, error)

    def _do(self, action: Send | Sleep) -> httpx.Response | None:
        if isinstance(action, Sleep):
            self._clock.sleep(action.seconds)
            return None
        request = self._http.build_request(
            action.method, action.path, headers=action.headers, content=action.body,
            timeout=action.timeout_s,
        )  # fmt: skip
        response = self._http.send(request, stream=True)
        if not (action.stream and response.is_success):
            try:
                response.read()
            finally:
                response.close()
        return response


class Stream:
    """A text as it is generated, read once: in strings, or in `pieces()`.

    `generation` is the complete text once all of it has been read.
    """

    def __init__(self, response: httpx.Response, events: Events) -> None:
        self._response = response
        self._events = events

    def __iter__(self) -> Iterator[str]:
        """Yield the text in parts."""
        for piece in self.pieces():
            if piece.text:
                yield piece.text

    def pieces(self) -> Iterator[Piece]:
        """Yield the text in parts, with `logprobs` each with its tokens."""
        with transport_faults():
            for chunk in self._response.iter_bytes():
                yield from self._events.feed(chunk)
        self._events.finish()

    @property
    def generation(self) -> Generation | None:
        return self._events.generation
