"""Admission, dispatch to engines, every request settled once, and a bounded drain.

Requests wait in one queue; those that ask the same share one place in it, and what was answered
lately is not computed again. Engines run elsewhere (`service.hosting`) and take rows between two of
their steps: what shares an engine need neither begin nor end together.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import count

from engine.contracts import Prompt
from service.batching.cache import AnswerCache
from service.batching.pace import Pace
from service.batching.place import Place
from service.batching.policy import BatchLimits
from service.batching.queue import WaitingQueue
from service.contracts import Answered, Host, Job, Observer, Started, Timings
from service.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    ServiceError,
    ShuttingDown,
)

_LONGEST_RETRY_S = 60
# Of a deadline, what an answer is expected to take at most. What is expected is a mean: if it were
# all of it, under overload every other accepted question would miss its deadline, its work in vain.
_SURE = 0.75


class Batcher:
    """Runs the engines of `hosts` for many callers. All methods belong to one event loop."""

    def __init__(
        self,
        hosts: Sequence[Host],
        limits: BatchLimits,
        *,
        max_queue: int,
        max_queue_tokens: float = math.inf,
        cached_answers: int = 0,
        hang_timeout_s: float = 60.0,
        restart_delay_s: float = 0.1,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._queue = WaitingQueue(
            limits, most=max_queue, most_tokens=max_queue_tokens, observer=observer
        )
        self._pace = Pace()
        self._places = [
            Place(
                host,
                self,
                limits=limits,
                pace=self._pace,
                hang_timeout_s=hang_timeout_s,
                restart_delay_s=restart_delay_s,
                observer=observer,
            )
            for host in hosts
        ]
        self._keys = count()
        self._under_way: set[Job] = set()
        self._shared: dict[Prompt, Job] = {}  # of those under way, what another may join
        self._cache = AnswerCache(cached_answers)
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._to_dispatch = False  # in this turn of the loop

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns once every engine takes questions. Raises `EngineRefused`."""
        starting = [asyncio.create_task(place.start()) for place in self._places]
        try:
            await asyncio.gather(*starting)
        finally:  # where one was refused, the others are not waited for
            for start in starting:
                start.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    @property
    def engines_up(self) -> int:
        return len([place for place in self._places if place.started is not None])

    @property
    def alive(self) -> bool:
        """Whether every engine takes questions."""
        return not self._draining and self.engines_up == len(self._places)

    @property
    def provider(self) -> str | None:
        """ONNX Runtime's name of what computes, once an engine is up."""
        return self.started.provider if self.started else None

    @property
    def started(self) -> Started | None:
        """What an engine said of itself as it started; None while there is none."""
        return next((place.started for place in self._places if place.started), None)

    def overload(self, timeout_s: float | None = None) -> Overloaded | None:
        """What the next question is refused with, and counted as, while the queue is full or too
        long for its deadline, where that is known.
        """
        if timeout_s is not None and self._answer_s() > _SURE * timeout_s:
            self._observer.refused("deadline")
            return Overloaded(self._retry_after_s(), "the queue is too long for the deadline")
        if self._queue.full:
            self._observer.refused("queue_full")
            return Overloaded(self._retry_after_s())
        return None

    async def drain(self, timeout_s: float) -> None:
        """Take no more requests, let the accepted finish, answer the rest with `ShuttingDown`.

        Once drained, to drain again does nothing.
        """
        self._draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            for job in list(self._under_way):
                self.settle(job, ShuttingDown())
        await asyncio.gather(*(place.close() for place in self._places))

    # -- callers ---------------------------------------------------------------------------------

    async def submit(self, prompt: Prompt, timeout_s: float) -> Answered:
        """An engine's answer to `prompt`.

        Raises `Overloaded`, `ShuttingDown` or `NotReady` at once, `DeadlineExceeded` after
        `timeout_s`, `EngineFailed` when the engine failed. A cancelled caller costs nothing more
        than the step that is being made.
        """
        self._require_open()
        if (known := self._cache.get(prompt)) is not None:
            self._observer.reused("cached")
            return Answered(known, Timings(0.0, 0.0))
        job = self._shared.get(prompt)
        if job is not None and not job.departed:
            self._observer.reused("shared")
        else:
            job = self._shared[prompt] = self._admit(prompt, timeout_s)
        return await self._reply(job, timeout_s)

    async def stream(
        self, prompt: Prompt, timeout_s: float
    ) -> AsyncGenerator[list[int] | Answered, None]:
        """The tokens so far, whenever there are more, and last the answer. Raises as `submit`.

        To close the iterator is to leave.
        """
        self._require_open()
        if (known := self._cache.get(prompt)) is not None:
            self._observer.reused("cached")
            yield Answered(known, Timings(0.0, 0.0))
            return
        news: asyncio.Queue[list[int] | None] = asyncio.Queue()
        job = self._admit(prompt, timeout_s, heard=news.put_nowait)
        reply = self._reply(job, timeout_s)
        reply.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (tokens := await news.get()) is not None:
                yield tokens
            yield reply.result()
        finally:
            reply.cancel()

    def _require_open(self) -> None:
        if self._draining:
            self._observer.refused("shutting_down")
            raise ShuttingDown
        if not self.engines_up:
            self._observer.refused("not_ready")
            raise NotReady

    def _admit(
        self, prompt: Prompt, timeout_s: float, heard: Callable[[list[int]], None] | None = None
    ) -> Job:
        if (refusal := self.overload(timeout_s)) is not None:
            raise refusal
        job = Job(next(self._keys), prompt, [], enqueued_s=self._clock(), heard=heard)
        if not self._queue.put(job):
            self._observer.refused("queue_full")
            raise Overloaded(self._retry_after_s())
        self._under_way.add(job)
        self._idle.clear()
        if not self._to_dispatch:
            # Not at once: those who ask in the same turn of the loop are dispatched together.
            self._to_dispatch = True
            asyncio.get_running_loop().call_soon(self.dispatch)
        return job

    def _wait_s(self) -> float:
        return self._pace.wait_s(len(self._queue), self.engines_up)

    def _answer_s(self) -> float:
        """Until one that comes now is answered: after all those accepted, and itself."""
        return self._pace.wait_s(len(self._under_way) + 1, self.engines_up)

    def _retry_after_s(self) -> int:
        """By then what waits now has been answered."""
        return min(max(1, math.ceil(self._wait_s())), _LONGEST_RETRY_S)

    def _reply(self, job: Job, timeout_s: float) -> asyncio.Future[Answered]:
        """One more who waits for `job`."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Answered] = loop.create_future()
        job.replies.append(reply)
        deadline = loop.call_later(timeout_s, self._expire, reply)

        def replied(_: asyncio.Future[Answered]) -> None:
            deadline.cancel()
            if reply.cancelled():
                self._observer.abandoned("left")
            else:
                reply.exception()  # or it counts as never seen where the caller left meanwhile
            if job.departed:
                self._forget(job)

        reply.add_done_callback(replied)
        return reply

    def _expire(self, reply: asyncio.Future[Answered]) -> None:
        if not reply.done():
            self._observer.abandoned("deadline")
            reply.set_exception(DeadlineExceeded())

    def _forget(self, job: Job) -> None:
        """Answered, or nobody waits any more."""
        self._queue.remove(job)
        for place in self._places:
            place.withdraw(job)
        if self._shared.get(job.prompt) is job:
            del self._shared[job.prompt]
        self._under_way.discard(job)
        if not self._under_way:
            self._idle.set()

    # -- engines ---------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Give what waits to engines that have rows, the least busy first."""
        self._to_dispatch = False
        if not self._queue:
            return
        for place in sorted(self._places, key=lambda place: place.load):
            idle = sum(place.room > 0 and not place.load for place in self._places)
            taken = self._queue.take(place.room, sharing=idle)
            if taken:
                place.give(taken)

    def settle(self, job: Job, outcome: Answered | ServiceError) -> None:
        if isinstance(outcome, Answered):
            self._cache.put(job.prompt, outcome.hypothesis)
        for reply in job.replies:
            if reply.done():
                continue
            if isinstance(outcome, Answered):
                reply.set_result(outcome)
            else:
                reply.set_exception(outcome)
