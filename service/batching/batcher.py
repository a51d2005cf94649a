"""Admission, one worker, every request settled once, and a bounded drain.

Batches are formed late: only when the engine is free, from all that waits then. A request whose
caller has gone or whose deadline has passed by then is dropped at no cost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from service.batching.policy import BatchLimits, choose
from service.contracts import Answered, Engine, Generation, Job, Observer, Timings, Tokens
from service.errors import (
    DeadlineExceeded,
    EngineFailed,
    NotReady,
    Overloaded,
    ServiceError,
    ShuttingDown,
)

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_S = 1.0


class Batcher:
    """Runs an engine for many callers. All methods belong to one event loop."""

    def __init__(
        self,
        engine: Engine,
        limits: BatchLimits,
        *,
        max_queue: int,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._max_queue = max_queue
        self._observer = observer
        self._clock = clock
        self._waiting: list[Job] = []
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._worker: asyncio.Task[None] | None = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        self._worker = asyncio.get_running_loop().create_task(self._run(), name="batcher")
        self._worker.add_done_callback(self._worker_ended)

    @property
    def alive(self) -> bool:
        """Whether the worker takes questions."""
        return self._worker is not None and not self._worker.done() and not self._draining

    async def drain(self, timeout_s: float) -> None:
        """Take no more requests, let the accepted finish, answer the rest with `ShuttingDown`.

        Once drained, to drain again does nothing.
        """
        self._draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            self._settle_waiting(ShuttingDown)
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)

    # -- callers ---------------------------------------------------------------------------------

    async def submit(self, source: Tokens, timeout_s: float) -> Answered:
        """The engine's answer to `source`.

        Raises `Overloaded`, `ShuttingDown` or `NotReady` at once, `DeadlineExceeded` after
        `timeout_s`, `EngineFailed` when the batch failed. A cancelled caller costs nothing more.
        """
        self._admit()
        now = self._clock()
        reply: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job(source, reply, enqueued_s=now))
        self._observer.queued(len(self._waiting))
        self._idle.clear()
        self._work.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await reply
        except TimeoutError as error:
            raise DeadlineExceeded from error

    def _admit(self) -> None:
        if self._draining:
            self._observer.refused("shutting_down")
            raise ShuttingDown
        if not self.alive:
            self._observer.refused("not_ready")
            raise NotReady
        if len(self._waiting) >= self._max_queue:
            self._drop_abandoned()
        if len(self._waiting) >= self._max_queue:
            self._observer.refused("queue_full")
            raise Overloaded(_RETRY_AFTER_S)

    # -- worker ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            batch = self._next_batch()
            if not batch:
                self._work.clear()
                self._idle.set()
                continue
            await self._answer(batch)

    def _next_batch(self) -> list[Job]:
        self._drop_abandoned()
        chosen = set(choose([job.length for job in self._waiting], self._limits))
        batch = [job for index, job in enumerate(self._waiting) if index in chosen]
        self._observer.queued(len(self._waiting) - len(batch))
        self._waiting = [job for index, job in enumerate(self._waiting) if index not in chosen]
        return batch

    def _drop_abandoned(self) -> None:
        """Forget the jobs whose callers have gone: their replies are cancelled."""
        kept = [job for job in self._waiting if not job.reply.done()]
        if len(kept) < len(self._waiting):
            self._observer.dropped(len(self._waiting) - len(kept))
            self._waiting = kept

    async def _answer(self, batch: list[Job]) -> None:
        """Run one batch; whatever happens, every job in it is settled when this returns."""
        outcome: type[ServiceError] = EngineFailed
        try:
            started = self._clock()
            waits_s = [started - job.enqueued_s for job in batch]
            self._observer.batch_formed(waits_s, [job.length for job in batch])
            generation = await self._generate(batch)
            inference_s = self._clock() - started
            self._count_departed(batch)
            for job, row, wait_s in zip(batch, generation.rows, waits_s, strict=True):
                if not job.reply.done():
                    job.reply.set_result(Answered(row, Timings(wait_s, inference_s)))
        except asyncio.CancelledError:
            outcome = ShuttingDown
            raise
        except Exception:
            # Whatever an engine raises is that batch's misfortune alone; the log has the rest.
            _LOG.exception("the engine failed on a batch of %d", len(batch))
            self._count_departed(batch)
        finally:
            _settle(batch, outcome)

    def _count_departed(self, batch: list[Job]) -> None:
        """Count those who left while their batch ran."""
        departed = sum(job.reply.done() for job in batch)
        if departed:
            self._observer.dropped(departed)

    async def _generate(self, batch: list[Job]) -> Generation:
        """The engine's rows, one a job."""
        loop = asyncio.get_running_loop()
        sources = [job.source for job in batch]
        generation = await loop.run_in_executor(self._thread, self._engine.generate, sources)
        if len(generation.rows) != len(sources):
            raise RuntimeError(
                f"the engine gave {len(generation.rows)} rows for {len(sources)} sources: a bug"
            )
        self._observer.batch_done(generation.phases, sum(map(len, generation.rows)))
        return generation

    def _worker_ended(self, _: asyncio.Task[None]) -> None:
        """Drained, or dead of a bug: nobody may wait for it any longer."""
        self._settle_waiting(NotReady)
        self._idle.set()

    def _settle_waiting(self, outcome: type[ServiceError]) -> None:
        waiting, self._waiting = self._waiting, []
        _settle(waiting, outcome)
        self._observer.queued(0)


def _settle(jobs: list[Job], outcome: type[ServiceError]) -> None:
    for job in jobs:
        if not job.reply.done():
            job.reply.set_exception(outcome())
