"""Every call of the API, written once for both clients.

A call is a generator. It yields steps (`Send`, `Sleep`), receives the result of each, and returns
its own result. The clients only execute the steps: one blocks, the other awaits.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import httpx

from cybersolve_client.answers import Answer, Fallback, Generation, Info, Problem
from cybersolve_client.batches import batches
from cybersolve_client.clock import Clock, Deadline
from cybersolve_client.errors import (
    TRANSIENT,
    ConnectionFailed,
    CyberSolveError,
    DeadlineExceeded,
    InvalidRequest,
    TLSFailed,
    error_of,
)
from cybersolve_client.events import Events
from cybersolve_client.responses import (
    REQUEST_ID,
    answer_of,
    generation_of,
    generations_of,
    info_of,
    outcomes_of,
    problem_of,
    request_id_of,
)
from cybersolve_client.retries import Retries, read_retry_after
from cybersolve_client.settings import Settings
from cybersolve_client.steps import Asking, Call, Result, Sleep, transport_faults

_BUSY = (429, 503)
_LOOK_EVERY_S = 0.1  # whether it is ready


class Calls:
    """The API calls of one client."""

    def __init__(
        self, *, api_key: str | None, timeout_s: float, retries: Retries, clock: Clock
    ) -> None:
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._retries = retries
        self._clock = clock
        self._info: Info | None = None

    def solve(
        self, question: str, fallback: Fallback, timeout_s: float | None, request_id: str | None
    ) -> Call[Answer]:
        asking = Asking("POST", "/solve", {"question": question, "fallback": fallback})
        deadline = self._deadline(timeout_s)
        response = yield from self._ask(asking, deadline, request_id, question=question)
        return answer_of(response)

    def solve_many(
        self,
        questions: Sequence[str],
        fallback: Fallback,
        timeout_s: float | None,
        request_id: str | None,
    ) -> Call[list[Answer | Problem]]:
        def asking(batch: Sequence[str]) -> Asking:
            body = {"questions": list(batch), "fallback": fallback}
            return Asking("POST", "/solve/batch", body)

        return (yield from self._many(questions, asking, outcomes_of, timeout_s, request_id))

    def generate(
        self, text: str, settings: Settings, timeout_s: float | None, request_id: str | None
    ) -> Call[Generation]:
        asking = Asking("POST", "/generate", {"text": text, "stream": False, **settings})
        response = yield from self._ask(asking, self._deadline(timeout_s), request_id)
        return generation_of(response)

    def generate_many(
        self,
        texts: Sequence[str],
        settings: Settings,
        timeout_s: float | None,
        request_id: str | None,
    ) -> Call[list[Generation | Problem]]:
        def asking(batch: Sequence[str]) -> Asking:
            return Asking("POST", "/generate", {"texts": list(batch), **settings})

        return (yield from self._many(texts, asking, generations_of, timeout_s, request_id))

    def stream(
        self, text: str, settings: Settings, timeout_s: float | None, request_id: str | None
    ) -> Call[tuple[httpx.Response, Events]]:
        """Return a streamed response, whose bytes the caller reads as events."""
        deadline = self._deadline(timeout_s)
        body = {"text": text, "stream": True, **settings}
        asking = Asking("POST", "/generate", body, stream=True)
        response = yield from self._ask(asking, deadline, request_id)
        return response, Events(request_id_of(response), deadline)

    def info(self) -> Call[Info]:
        response = yield from self._ask(Asking("GET", "/info"), self._deadline(None), None)
        return info_of(response)

    def ready(self) -> Call[bool]:
        return (yield from self._unready(self._deadline(None))) is None

    def wait_until_ready(self, timeout_s: float) -> Call[None]:
        deadline = self._deadline(timeout_s)
        while (reason := (yield from self._unready(deadline))) is not None:
            if deadline.left_s <= _LOOK_EVERY_S:
                raise reason
            yield Sleep(_LOOK_EVERY_S)

    def _unready(self, deadline: Deadline) -> Call[CyberSolveError | None]:
        """Return why the server is not ready, or None. Raises errors that waiting cannot mend."""
        asking = Asking("GET", "/readyz")
        try:
            yield from self._ask(asking, deadline, None, retries=Retries(attempts=1))
        except TLSFailed:
            raise
        except (TRANSIENT, ConnectionFailed, DeadlineExceeded) as error:
            return error
        return None

    def _many(
        self,
        texts: Sequence[str],
        asking: Callable[[Sequence[str]], Asking],
        read: Callable[[httpx.Response, int], list[Result | Problem]],
        timeout_s: float | None,
        request_id: str | None,
    ) -> Call[list[Result | Problem]]:
        """Return the outcome of each of `texts`, from as few requests as the limits allow.

        `asking` makes the request for some of them, and `read` reads its response.
        """
        limits = self._info = self._info or (yield from self.info())
        outcomes: list[Result | Problem] = []
        for batch in batches(
            texts, most_questions=limits.max_batch_questions, most_bytes=limits.max_body_bytes
        ):
            deadline = self._deadline(timeout_s)
            try:
                outcomes += yield from self._batch(batch, asking, read, deadline, request_id)
            except CyberSolveError as error:
                error.outcomes = tuple(outcomes)
                raise
        return outcomes

    def _batch(
        self,
        texts: Sequence[str],
        asking: Callable[[Sequence[str]], Asking],
        read: Callable[[httpx.Response, int], list[Result | Problem]],
        deadline: Deadline,
        request_id: str | None,
    ) -> Call[list[Result | Problem]]:
        """Send one request, and again the texts that the server rejected as busy.

        If a further request fails, the outcomes of the first one stand.
        """
        outcomes: dict[int, Result | Problem] = {}
        pending = list(range(len(texts)))
        for attempt in range(1, self._retries.attempts + 1):
            request = asking([texts[index] for index in pending])
            try:
                response = yield from self._ask(request, deadline, request_id)
                outcomes.update(zip(pending, read(response, len(pending)), strict=True))
            except CyberSolveError as error:
                if outcomes:
                    break
                if isinstance(error, InvalidRequest) and error.problem and len(texts) == 1:
                    return [error.problem]
                raise
            pending = [index for index in pending if _is_busy(outcomes[index])]
            delay_s = self._retries.delay_s(attempt, None)
            if not pending or attempt == self._retries.attempts or delay_s > deadline.left_s:
                break
            yield Sleep(delay_s)
        return [outcomes[index] for index in range(len(texts))]

    def _ask(
        self,
        asking: Asking,
        deadline: Deadline,
        request_id: str | None,
        *,
        question: str = "",
        retries: Retries | None = None,
    ) -> Call[httpx.Response]:
        """Return the response to a request, which is retried after transient errors."""
        retries = retries or self._retries
        headers = {**self._headers, REQUEST_ID: request_id or uuid.uuid4().hex}
        attempt = 0
        while True:
            attempt += 1
            if deadline.left_s == 0.0:
                raise DeadlineExceeded("the time of the call was over before its answer was there")
            try:
                with transport_faults():
                    response = yield asking.send(headers, deadline.left_s)
                assert response is not None
                if response.is_success:
                    return response
                raise self._error(response, question)
            except TRANSIENT as error:
                delay_s = retries.delay_s(attempt, error.retry_after_s)
                if attempt >= retries.attempts or delay_s >= deadline.left_s:
                    raise
            yield Sleep(delay_s)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self._clock, self._timeout_s if timeout_s is None else timeout_s)

    def _error(self, response: httpx.Response, question: str) -> CyberSolveError:
        wall_s = self._clock.wall_s()
        retry_after_s = read_retry_after(response.headers.get("retry-after"), wall_s)
        return error_of(problem_of(response), question, retry_after_s)


def _is_busy(outcome: object) -> bool:
    return isinstance(outcome, Problem) and outcome.status in _BUSY
