"""Admission, workers, every request settled once, and a bounded drain.

Requests wait in one queue; those that ask the same share one place in it, and what was answered
lately is not computed again. Each worker's engine takes them between two of its steps, whenever it
has free rows, and gives each back as soon as that one is finished: what shares an engine need
neither begin nor end together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from service.batching.cache import AnswerCache
from service.batching.policy import BatchLimits
from service.batching.queue import WaitingQueue
from service.batching.worker import Worker
from service.contracts import Answered, Engine, Job, Observer, Prompt, Timings
from service.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    ServiceError,
    ShuttingDown,
)

_RETRY_AFTER_S = 1.0
_LAST_STEP_S = 5.0  # for the workers' threads to end, once nobody waits for them


class Batcher:
    """Runs engines for many callers. All methods belong to one event loop."""

    def __init__(
        self,
        engines: Sequence[Engine],
        limits: BatchLimits,
        *,
        max_queue: int,
        cached_answers: int = 0,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._queue = WaitingQueue(limits, most=max_queue, observer=observer)
        self._workers = [
            Worker(
                engine,
                self._queue,
                settle=lambda outcomes: self._in_loop(self._settle, outcomes),
                ended=lambda: self._in_loop(self._worker_ended),
                observer=observer,
                clock=clock,
                name=f"engine-{number}",
            )
            for number, engine in enumerate(engines)
        ]
        self._loop: asyncio.AbstractEventLoop | None = None  # until started
        self._jobs: dict[Prompt, Job] = {}  # under way
        self._cache = AnswerCache(cached_answers)
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        for worker in self._workers:
            worker.start()

    @property
    def alive(self) -> bool:
        """Whether every worker takes questions."""
        started = self._loop is not None and not self._draining
        return started and all(worker.alive for worker in self._workers)

    async def drain(self, timeout_s: float) -> None:
        """Take no more requests, let the accepted finish, answer the rest with `ShuttingDown`.

        Once drained, to drain again does nothing.
        """
        self._draining = True
        in_time = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            in_time = False
            self._settle_all(ShuttingDown)
        self._queue.close()
        if in_time and self._loop is not None:
            for worker in self._workers:
                await asyncio.to_thread(worker.join, _LAST_STEP_S)

    # -- callers ---------------------------------------------------------------------------------

    async def submit(self, prompt: Prompt, timeout_s: float) -> Answered:
        """An engine's answer to `prompt`.

        Raises `Overloaded`, `ShuttingDown` or `NotReady` at once, `DeadlineExceeded` after
        `timeout_s`, `EngineFailed` when the engine failed. A cancelled caller costs nothing more
        than the step that is being made.
        """
        reply = self._admit(prompt)
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError as error:
            raise DeadlineExceeded from error

    def _admit(self, prompt: Prompt) -> asyncio.Future[Answered]:
        if self._draining:
            self._observer.refused("shutting_down")
            raise ShuttingDown
        if not self.alive or self._loop is None:
            self._observer.refused("not_ready")
            raise NotReady
        reply: asyncio.Future[Answered] = self._loop.create_future()
        if (known := self._cache.get(prompt)) is not None:
            self._observer.reused("cached")
            reply.set_result(Answered(known, Timings(0.0, 0.0)))
            return reply
        job = self._jobs.get(prompt)
        if job is not None and not job.departed:
            self._observer.reused("shared")
            job.replies.append(reply)
        else:
            job = Job(prompt, [reply], enqueued_s=self._clock())
            if not self._queue.put(job):
                self._observer.refused("queue_full")
                raise Overloaded(_RETRY_AFTER_S)
            self._jobs[prompt] = job
            self._idle.clear()
        reply.add_done_callback(lambda _: self._forget(job))
        return reply

    def _forget(self, job: Job) -> None:
        if job.departed and self._jobs.get(job.prompt) is job:
            del self._jobs[job.prompt]
        if not self._jobs:
            self._idle.set()

    # -- workers ---------------------------------------------------------------------------------

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        """Have the event loop do what a worker's thread must not."""
        assert self._loop is not None, "a worker runs before the start: this is a bug"
        # A closed loop refuses: nobody waits there any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)

    def _settle(self, outcomes: list[tuple[Job, Answered | ServiceError]]) -> None:
        for job, outcome in outcomes:
            if isinstance(outcome, Answered):
                self._cache.put(job.prompt, outcome.hypothesis)
            if job.departed:
                self._observer.dropped(len(job.replies))  # they left during the last step
            for reply in job.replies:
                if reply.done():
                    continue
                if isinstance(outcome, Answered):
                    reply.set_result(outcome)
                else:
                    reply.set_exception(outcome)

    def _worker_ended(self) -> None:
        """Drained, or dead of a bug: when it was the last, nobody may wait any longer."""
        if not any(worker.alive for worker in self._workers):
            self._settle_all(NotReady)

    def _settle_all(self, error: type[ServiceError]) -> None:
        self._settle([(job, error()) for job in self._jobs.values() if not job.departed])
