"""The supervisor of one engine: its jobs, its health checks and its restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from service.batching.policy import BatchLimits
from service.batching.service_time import ServiceTime
from service.contracts import (
    Answered,
    EngineExit,
    Host,
    Job,
    Join,
    Leave,
    Observer,
    Report,
    Started,
    Timings,
)
from service.errors import EngineFailed, EngineFull, EngineNotStarted, EngineRefused, ServiceError

_LOG = logging.getLogger(__name__)
_MAX_DELAY_S = 30.0  # the longest backoff between two attempts to start an engine
_CHECKS = 4  # checks in the silence that an engine is allowed
_START_HANGS = 10  # times that silence, because a large model takes long to load


class Owner(Protocol):
    """The batcher, which owns the jobs."""

    def settle(self, job: Job, outcome: Answered | ServiceError) -> None: ...

    def dispatch(self) -> None: ...  # an engine may have free rows

    def engine_started(self) -> None: ...  # its `limits` may have changed


class EngineSupervisor:
    """Start the engine of `host`, check that it reports, and restart it when it crashes or hangs.

    An engine hangs when it has work and sends no report for `hang_timeout_s`, and when it takes
    ten times that to start. The restart backoff begins with `restart_delay_s` and doubles until an
    engine has answered, or has run for longer than the longest delay.
    """

    def __init__(
        self,
        host: Host,
        owner: Owner,
        *,
        limits: BatchLimits,
        service_time: ServiceTime,
        hang_timeout_s: float,
        restart_delay_s: float,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._host = host
        self._owner = owner
        self._service_time = service_time
        self._hang_timeout_s = hang_timeout_s
        self._first_delay_s = self._delay_s = restart_delay_s
        self._observer = observer
        self._clock = clock
        self._wanted_rows = limits.rows
        self.limits = limits  # with the rows that the engine has, or had when it started last
        self._jobs: dict[int, Job] = {}
        self._rows = 0  # of its jobs
        # An engine that was given work must report, even if all callers have disconnected: their
        # deadlines may be shorter than the silence that proves a hang.
        self._must_report = False
        self._silent_checks = 0
        self._hung = False
        self._supervising: asyncio.Task[None] | None = None
        self._started_s = 0.0
        self.started: Started | None = None  # while it takes jobs

    # -- start and restart -----------------------------------------------------------------------

    async def start(self) -> None:
        """Return once the engine takes jobs, and supervise it from then on.

        Raises `EngineRefused`. After any other failure it tries again.
        """
        await self._start_until_up(accept_refusal=True)
        self._supervising = asyncio.create_task(self._supervise(), name="engine supervisor")

    async def close(self) -> None:
        if self._supervising is not None:
            self._supervising.cancel()
            await asyncio.gather(self._supervising, return_exceptions=True)
        self.started = None
        await self._host.close()

    async def _supervise(self) -> None:
        """Restart the engine whenever it ends. Nothing but `close` ends this."""
        while True:
            try:
                if self.started is not None:
                    self._on_exit(await self._watch())
                    await self._back_off()
                await self._start_until_up()
            except Exception:
                _LOG.exception(
                    "engine supervision failed: this is a bug; next attempt in %.1f s",
                    self._delay_s,
                )
                self._host.kill()
                self._drop_engine()
                await self._back_off()

    async def _start_until_up(self, *, accept_refusal: bool = False) -> None:
        """Start the engine, and try again as long as it does not start.

        Only the first start gives up at a refusal: a file that is missing now may be back later.
        """
        while True:
            try:
                self.started = await self._start()
            except EngineRefused as error:
                if accept_refusal:
                    raise
                self._log_failed_start(error)
            except (EngineNotStarted, OSError) as error:
                self._log_failed_start(error)
            else:
                self._must_report, self._started_s = False, self._clock()
                rows = min(self._wanted_rows, self.started.rows)
                self.limits = replace(self.limits, rows=rows)
                self._owner.engine_started()
                return
            await self._back_off()

    def _log_failed_start(self, error: Exception) -> None:
        _LOG.error("an engine did not start (%s); next attempt in %.1f s", error, self._delay_s)

    async def _start(self) -> Started:
        timeout_s = _START_HANGS * self._hang_timeout_s
        try:
            async with asyncio.timeout(timeout_s) as limit:
                return await self._host.start(self._on_report)
        except TimeoutError:
            if not limit.expired():
                raise  # an `OSError`
            self._host.kill()
            await self._host.ended()
            raise EngineNotStarted(f"it was not ready after {timeout_s:g} s") from None

    async def _back_off(self) -> None:
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(2 * self._delay_s, _MAX_DELAY_S)

    # -- health ----------------------------------------------------------------------------------

    async def _watch(self) -> EngineExit:
        """Return once the engine has ended, by itself or because it hung and was killed.

        Checks are counted, not seconds: after a pause of the whole machine the engine has time to
        report, and this process has time to receive it.
        """
        ended = asyncio.ensure_future(self._host.ended())
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=self._hang_timeout_s / _CHECKS)
                self._silent_checks += 1
                if self._must_report and self._silent_checks > _CHECKS and not ended.done():
                    self._hung = True
                    self._host.kill()
            return await ended
        finally:
            ended.cancel()

    def _on_exit(self, end: EngineExit) -> None:
        reason = "out_of_memory" if end.out_of_memory else "crashed"
        if self._hung:
            reason = "hung"
        if self._clock() - self._started_s > _MAX_DELAY_S:
            self._delay_s = self._first_delay_s  # it ran well, even if nobody waited for an answer
        _LOG.error(
            "an engine %s on %d questions (%s); restart in %.1f s",
            "hung" if self._hung else "crashed",
            len(self._jobs),
            end,
            self._delay_s,
        )
        self._drop_engine()
        self._observer.engine_ended(reason)

    def _drop_engine(self) -> None:
        self.started, self._hung = None, False
        self._fail(list(self._jobs))

    # -- jobs ------------------------------------------------------------------------------------

    @property
    def load(self) -> int:
        """Return how many rows the engine's jobs take."""
        return self._rows

    @property
    def room(self) -> int:
        """Return how many more rows the engine takes now."""
        if not self.started:
            return 0
        # A few more than it has, or rows would stay empty while a report travels.
        return self.limits.rows + self.limits.rows // 4 - self._rows

    @property
    def idle(self) -> bool:
        """Return whether the engine is up and has no jobs."""
        return self.started is not None and not self._jobs

    def give(self, jobs: list[Job]) -> None:
        if not self._must_report:
            self._must_report, self._silent_checks = True, 0  # before, it had nothing to report
        self._jobs |= {job.key: job for job in jobs}
        self._rows += sum(job.rows for job in jobs)
        self._host.order([Join(job.key, job.prompt, job.on_progress is not None) for job in jobs])

    def withdraw(self, job: Job) -> None:
        """Take back a job that no caller waits for; do nothing for a job of another engine."""
        if self._pop(job.key) is not None:
            self._host.order([Leave(job.key)])

    def _pop(self, key: int) -> Job | None:
        """Remove and return a job; `None` if the engine does not have it."""
        job = self._jobs.pop(key, None)
        self._rows -= job.rows if job is not None else 0
        return job

    def _on_report(self, report: Report) -> None:
        self._silent_checks = 0
        self._count(report)
        for key, progress in report.written:
            if (job := self._jobs.get(key)) is not None and job.on_progress is not None:
                job.on_progress(progress)
        for finished in report.finished:
            job = self._pop(finished.key)
            if job is None:
                continue  # it was withdrawn during its last step
            queue_s = finished.joined_s - job.enqueued_s
            encode_s = finished.encoded_s - finished.joined_s
            timings = Timings(queue_s, finished.finished_s - finished.joined_s, encode_s)
            self._owner.settle(job, Answered(finished.answer, timings))
            self._delay_s = self._first_delay_s
        self._fail(report.failed)
        self._fail(report.crowded, EngineFull)
        self._must_report = bool(self._jobs)
        self._owner.dispatch()

    def _count(self, report: Report) -> None:
        for joined in report.joined:
            here = [self._jobs[key] for key in joined.keys if key in self._jobs]
            waits_s = [joined.at_s - job.enqueued_s for job in here]
            self._observer.joined(waits_s, joined.lengths)
        for rows, busy_s in report.steps:
            self._observer.stepped(rows, busy_s)
        self._service_time.finished(finished.engine_s for finished in report.finished)
        self._service_time.withdrawn(report.withdrawn_s)
        for finished in report.finished:
            encode_s = finished.encoded_s - finished.joined_s
            decode_s = finished.finished_s - finished.encoded_s
            self._observer.finished(
                encode_s, decode_s, sum(len(one.tokens) for one in finished.answer.hypotheses)
            )

    def _fail(self, keys: list[int], error: type[ServiceError] = EngineFailed) -> None:
        for key in keys:
            if (job := self._pop(key)) is not None:
                self._owner.settle(job, error())
