"""Queue requests, dispatch them to engines, settle each exactly once, and drain in bounded time.

Requests wait in one queue. Requests with equal prompts share one job, and the latest answers are
cached. Engines run elsewhere (`service.hosting`); jobs join and leave an engine between two steps,
so rows of one batch need not start or end together.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from itertools import count

from engine.contracts import Progress, Prompt
from service.admission import Admission
from service.batching.cache import AnswerCache
from service.batching.policy import BatchLimits
from service.batching.queue import WaitingQueue
from service.batching.service_time import ServiceTime
from service.batching.supervisor import EngineSupervisor
from service.contracts import Answered, Host, Job, Observer, Started, Timings
from service.errors import DeadlineExceeded, InvalidSetting, ServiceError, ShuttingDown

_LOG = logging.getLogger(__name__)


class Batcher:
    """Run the engines of `hosts` for many callers. All methods belong to one event loop."""

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
        self._queue = WaitingQueue(most=max_queue, most_tokens=max_queue_tokens, observer=observer)
        self._service_time = ServiceTime(clock)
        self._supervisors = [
            EngineSupervisor(
                host,
                self,
                limits=limits,
                service_time=self._service_time,
                hang_timeout_s=hang_timeout_s,
                restart_delay_s=restart_delay_s,
                observer=observer,
                clock=clock,
            )
            for host in hosts
        ]
        self._keys = count()
        self._under_way: set[Job] = set()
        self._rows = 0  # of the jobs under way
        self._widest = limits.rows  # the most rows of a job that any engine can decode
        self._shared: dict[Prompt, Job] = {}  # jobs under way that others may join
        self._cache = AnswerCache(cached_answers)
        self._drained = asyncio.Event()
        self._drained.set()
        self._dispatch_due = False  # in this turn of the loop
        self.admission = Admission(self, observer, recent_questions=cached_answers + max_queue)

    # -- load, read by admission control ---------------------------------------------------------

    @property
    def engines_up(self) -> int:
        return len([one for one in self._supervisors if one.started is not None])

    @property
    def queue_full(self) -> bool:
        return self._queue.full

    @property
    def idle(self) -> bool:
        """Return whether an engine would begin with the next job at once."""
        engines = self.engines_up
        if len(self._queue) >= engines:
            return False
        return len(self._queue) < sum(one.idle for one in self._supervisors)

    @property
    def rows(self) -> int:
        """Return the rows of all engines together; on a GPU its memory may limit them."""
        return sum(one.limits.rows for one in self._supervisors)

    def answer_s(self) -> float:
        """Return the seconds until a job queued now is answered: after all others under way."""
        return self._service_time.wait_s(self._rows + 1, self.engines_up)

    def queue_s(self) -> float:
        """Return the seconds until the jobs that wait now have been answered."""
        return self._service_time.wait_s(self._queue.rows, self.engines_up)

    # -- start and drain -------------------------------------------------------------------------

    async def start(self) -> None:
        """Return once every engine takes jobs. Raises `EngineRefused`."""
        starting = [asyncio.create_task(supervisor.start()) for supervisor in self._supervisors]
        try:
            await asyncio.gather(*starting)
        finally:  # once one engine is refused, the others are not waited for
            for start in starting:
                start.cancel()
            await asyncio.gather(*starting, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Return whether every engine takes jobs."""
        return not self.admission.closed and self.engines_up == len(self._supervisors)

    @property
    def provider(self) -> str | None:
        """Return ONNX Runtime's name of the execution provider, once an engine is up."""
        return self.started.provider if self.started else None

    @property
    def started(self) -> Started | None:
        """Return what an engine reported at its start; `None` while no engine is up."""
        return next((one.started for one in self._supervisors if one.started), None)

    async def drain(self, timeout_s: float) -> None:
        """Reject new jobs, let accepted ones finish, and answer the rest with `ShuttingDown`.

        Draining again does nothing.
        """
        self.admission.close()
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained.wait()
        except TimeoutError:
            for job in list(self._under_way):
                self.settle(job, ShuttingDown())
        closing = [supervisor.close() for supervisor in self._supervisors]
        for outcome in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(outcome, Exception):
                _LOG.error("an engine was not closed", exc_info=outcome)

    # -- callers ---------------------------------------------------------------------------------

    async def submit(self, prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        """Return an engine's answer to `prompt`.

        With `wait` it is queued even where it is expected to miss its deadline: a batch, admitted
        as a whole, must not give up early because of its own questions.

        Raises `Overloaded`, `ShuttingDown` or `NotReady` at once, `DeadlineExceeded` after
        `timeout_s`, `InvalidSetting` for more rows than an engine has, and `EngineFailed` when the
        engine failed. Cancelling discards the job; it costs at most the step under way.
        """
        self.admission.require_open()
        if (known := self._cache.get(prompt)) is not None:
            self._observer.reused("cached")
            return Answered(known, Timings(0.0, 0.0))
        job = self._shared.get(prompt)
        if job is not None and not job.abandoned:
            self._observer.reused("shared")
        else:
            job = self._shared[prompt] = self._admit(prompt, None if wait else timeout_s)
        return await self._reply(job, timeout_s)

    async def stream(
        self, prompt: Prompt, timeout_s: float, *, wait: bool = False
    ) -> AsyncGenerator[Progress | Answered, None]:
        """Yield the next tokens as they are decoded, and last the whole answer.

        `wait`, and what is raised, are as in `submit`. Closing the iterator discards the job.
        """
        self.admission.require_open()
        if (known := self._cache.get(prompt)) is not None:
            self._observer.reused("cached")
            yield Answered(known, Timings(0.0, 0.0))
            return
        news: asyncio.Queue[Progress | None] = asyncio.Queue()
        job = self._admit(prompt, None if wait else timeout_s, on_progress=news.put_nowait)
        reply = self._reply(job, timeout_s)
        reply.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (progress := await news.get()) is not None:
                yield progress
            yield reply.result()
        finally:
            reply.cancel()

    def _admit(
        self,
        prompt: Prompt,
        timeout_s: float | None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Job:
        """Queue a new job. Raises `Overloaded`, also for a `timeout_s` that would be missed, and
        `InvalidSetting` for more rows than an engine has.
        """
        if prompt.rows > self._widest:
            raise self._too_wide(prompt)
        self.admission.require_capacity(timeout_s)
        job = Job(next(self._keys), prompt, [], enqueued_s=self._clock(), on_progress=on_progress)
        if not self._queue.put(job):
            raise self.admission.queue_full()
        self._under_way.add(job)
        self._rows += job.rows
        self._drained.clear()
        if not self._dispatch_due:
            # Not at once: jobs admitted in the same turn of the loop are dispatched together.
            self._dispatch_due = True
            asyncio.get_running_loop().call_soon(self.dispatch)
        return job

    def _too_wide(self, prompt: Prompt) -> InvalidSetting:
        return InvalidSetting(
            f"{prompt.rows} beams or samples; an engine decodes at most {self._widest} rows"
        )

    def _reply(self, job: Job, timeout_s: float) -> asyncio.Future[Answered]:
        """Add a caller to `job` and return its reply."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Answered] = loop.create_future()
        job.replies.append(reply)
        deadline = loop.call_later(timeout_s, self._expire, reply)

        def replied(_: asyncio.Future[Answered]) -> None:
            deadline.cancel()
            if reply.cancelled():
                self._observer.abandoned("left")
            else:
                reply.exception()  # or asyncio reports it as never retrieved after a disconnect
            if job.abandoned:
                self._forget(job)

        reply.add_done_callback(replied)
        return reply

    def _expire(self, reply: asyncio.Future[Answered]) -> None:
        if not reply.done():
            self._observer.abandoned("deadline")
            reply.set_exception(DeadlineExceeded())

    def _forget(self, job: Job) -> None:
        """Discard a job that was answered, or that no caller waits for."""
        self._queue.remove(job)
        for supervisor in self._supervisors:
            supervisor.withdraw(job)
        if self._shared.get(job.prompt) is job:
            del self._shared[job.prompt]
        if job in self._under_way:
            self._under_way.remove(job)
            self._rows -= job.rows
        if not self._under_way:
            self._drained.set()

    # -- engines ---------------------------------------------------------------------------------

    def engine_started(self) -> None:
        """Reject the jobs of more rows than any engine has now, and dispatch the others.

        A GPU holds fewer rows than the limits say, or than before, where its memory is short.
        """
        self._widest = max(one.limits.rows for one in self._supervisors)
        for job in self._queue.wider_than(self._widest):
            self._queue.remove(job)
            self.settle(job, self._too_wide(job.prompt))
        self.dispatch()

    def dispatch(self) -> None:
        """Give waiting jobs to engines with free rows, the least busy first."""
        self._dispatch_due = False
        if not self._queue:
            return
        for supervisor in sorted(self._supervisors, key=lambda one: one.load):
            idle = sum(one.idle for one in self._supervisors)
            taken = self._queue.take(supervisor.room, supervisor.limits, sharing=idle)
            if taken:
                supervisor.give(taken)

    def settle(self, job: Job, outcome: Answered | ServiceError) -> None:
        """Answer every caller of `job` that still waits."""
        if isinstance(outcome, Answered):
            self._cache.put(job.prompt, outcome.answer)
        for reply in job.replies:
            if reply.done():
                continue
            if isinstance(outcome, Answered):
                reply.set_result(outcome)
            else:
                reply.set_exception(outcome)
