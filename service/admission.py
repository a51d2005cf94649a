"""Admission control: decide which requests and jobs are accepted, and count the rejected ones.

The checks come in this order, each as early as what it needs is known, so that a rejection costs
little:

1. `rejection`, before the body of a request is read: is the service open, is there an engine, has
   the queue room?
2. `request`, around the work of a request: is the service open still? Counts it as in progress.
3. `require_deadline`, before a question is parsed: can it be answered in time?
4. `require_open` and `require_capacity`, for each job: the same checks at the batcher's own door.

It knows nothing of HTTP, and of the batcher only its `Load`. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from service.contracts import Observer
from service.errors import NotReady, Overloaded, ServiceError, ShuttingDown
from service.recent import RecentQuestions

_MAX_RETRY_S = 60
# The part of a deadline that the estimated wait may take. The estimate is a mean: with the whole
# deadline, half of the requests accepted under overload would miss it, and waste their work.
_SAFE_PART = 0.75


class Load(Protocol):
    """The load of the engines, as a batcher reports it. Read for every request, so cheap."""

    @property
    def engines_up(self) -> int:
        """Return how many engines take jobs now."""
        ...

    @property
    def queue_full(self) -> bool: ...

    @property
    def idle(self) -> bool:
        """Return whether an engine would begin with the next job at once."""
        ...

    def answer_s(self) -> float:
        """Return the expected seconds until a job queued now is answered."""
        ...

    def queue_s(self) -> float:
        """Return the expected seconds until the jobs that wait now are answered."""
        ...


class Admission:
    """Accept or reject requests by the state of the service and the `load` of its engines.

    `recent_questions` are remembered: their answers may be cached or in progress.
    """

    def __init__(self, load: Load, observer: Observer, *, recent_questions: int = 0) -> None:
        self._load = load
        self._observer = observer
        self.recent = RecentQuestions(recent_questions)
        self._accepts_requests = self._accepts_jobs = True
        self._in_progress = 0
        self._none_in_progress = asyncio.Event()
        self._none_in_progress.set()

    # -- requests ----------------------------------------------------------------------------------

    def rejection(self) -> ServiceError | None:
        """Return, and count, why the next request is rejected; `None` if it may be answered."""
        return self._unavailable(self._accepts_requests) or self.overload()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request as in progress, so that `drain` waits for its end.

        Raises `ShuttingDown` once draining and `NotReady` while there is no engine.
        """
        if (rejection := self._unavailable(self._accepts_requests)) is not None:
            raise rejection
        self._in_progress += 1
        self._none_in_progress.clear()
        try:
            yield
        finally:
            self._in_progress -= 1
            if self._in_progress == 0:
                self._none_in_progress.set()

    def require_deadline(self, question: str, timeout_s: float) -> None:
        """Raise `Overloaded` if `question` cannot be answered within `timeout_s`.

        A recent question always passes: it may need no engine.
        """
        if question not in self.recent:
            self.require_capacity(timeout_s)

    # -- jobs --------------------------------------------------------------------------------------

    def require_open(self) -> None:
        """Raise `ShuttingDown` once closed, and `NotReady` while there is no engine."""
        if (rejection := self._unavailable(self._accepts_jobs)) is not None:
            raise rejection

    def require_capacity(self, timeout_s: float | None) -> None:
        """Raise `Overloaded` where `overload` says so."""
        if (rejection := self.overload(timeout_s)) is not None:
            raise rejection

    def overload(self, timeout_s: float | None = None) -> Overloaded | None:
        """Return, and count, the rejection of the next job; `None` if it would be queued.

        Jobs are rejected while the queue is full, and while a job with `timeout_s` is expected to
        miss its deadline. The estimate has no say while an engine is idle: it is learned from
        admitted jobs, so with none admitted it could never be corrected.
        """
        if timeout_s is not None and self._cannot_meet_deadline(timeout_s):
            self._observer.refused("deadline")
            return Overloaded(self._retry_after_s(), "the queue is too long for the deadline")
        return self.queue_full() if self._load.queue_full else None

    def queue_full(self) -> Overloaded:
        """Return, and count, the rejection of a job for which the queue has no room."""
        self._observer.refused("queue_full")
        return Overloaded(self._retry_after_s())

    # -- shutdown ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return not self._accepts_jobs

    def refuse_requests(self) -> None:
        """Reject new requests; the jobs of those in progress are still accepted, until `close`."""
        self._accepts_requests = False

    async def drain(self) -> None:
        """Reject new requests, and return once those in progress have ended."""
        self.refuse_requests()
        await self._none_in_progress.wait()

    def close(self) -> None:
        """Reject new requests and new jobs, also those of requests in progress."""
        self._accepts_requests = self._accepts_jobs = False

    # -- checks ------------------------------------------------------------------------------------

    def _unavailable(self, accepting: bool) -> ServiceError | None:
        if not accepting:
            self._observer.refused("shutting_down")
            return ShuttingDown()
        if not self._load.engines_up:
            self._observer.refused("not_ready")
            return NotReady()
        return None

    def _cannot_meet_deadline(self, timeout_s: float) -> bool:
        return self._load.answer_s() > _SAFE_PART * timeout_s and not self._load.idle

    def _retry_after_s(self) -> int:
        return min(max(1, math.ceil(self._load.queue_s())), _MAX_RETRY_S)
