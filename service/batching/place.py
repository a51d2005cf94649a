"""One engine's place in the service: the jobs that it has, and its life from start to restart."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from service.batching.pace import Pace
from service.batching.policy import BatchLimits
from service.contracts import Answered, Host, Job, Join, Leave, Observer, Report, Started, Timings
from service.errors import EngineFailed, EngineRefused, ServiceError

_LOG = logging.getLogger(__name__)
_LONGEST_DELAY_S = 30.0  # between two attempts to start an engine
_LOOKS = 4  # at an engine, in the time of silence that it is allowed
_START_HANGS = 10  # times that silence: a large model takes its time to load


class Owner(Protocol):
    """Whose jobs these are: the batcher."""

    def settle(self, job: Job, outcome: Answered | ServiceError) -> None: ...

    def dispatch(self) -> None: ...  # there may be free rows


class Place:
    """Starts the engine of `host`, watches it, and starts it again should it crash or hang.

    An engine hangs when it owes a report and says nothing for `hang_timeout_s`, and when it takes
    ten times that to start. The first pause before a restart is `restart_delay_s`; each next one
    twice as long, until an engine has answered.
    """

    def __init__(
        self,
        host: Host,
        owner: Owner,
        *,
        limits: BatchLimits,
        pace: Pace,
        hang_timeout_s: float,
        restart_delay_s: float,
        observer: Observer,
    ) -> None:
        self._host = host
        self._owner = owner
        self._pace = pace
        self._hang_timeout_s = hang_timeout_s
        self._first_delay_s = self._delay_s = restart_delay_s
        self._observer = observer
        # A few more than it has rows for, or rows would stay empty while a report travels.
        self._most = limits.rows + limits.rows // 4
        self._jobs: dict[int, Job] = {}
        # Whoever is given work owes a report, also when all have left: their deadlines may be
        # shorter than the silence that proves a hang.
        self._owes = False
        self._silent_looks = 0
        self._hung = False
        self._life: asyncio.Task[None] | None = None
        self.started: Started | None = None  # while it takes jobs

    # -- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Returns once the engine takes jobs; it is kept alive from then on.

        Raises `EngineRefused`. Another failure is tried again.
        """
        await self._begin(retried=(EngineFailed,))
        self._life = asyncio.create_task(self._keep(), name="engine")

    async def close(self) -> None:
        if self._life is not None:
            self._life.cancel()
            await asyncio.gather(self._life, return_exceptions=True)
        self.started = None
        await self._host.close()

    async def _begin(self, retried: tuple[type[Exception], ...]) -> None:
        while True:
            try:
                self.started = await self._start()
            except retried as error:
                _LOG.error("an engine did not start (%s); again in %.1f s", error, self._delay_s)
                await self._wait_a_little()
            else:
                self._owes = False
                self._owner.dispatch()
                return

    async def _start(self) -> Started:
        try:
            async with asyncio.timeout(_START_HANGS * self._hang_timeout_s):
                return await self._host.start(self._hear)
        except TimeoutError:
            self._host.kill()
            await self._host.ended()
            raise EngineFailed from None

    async def _keep(self) -> None:
        while True:
            ended = asyncio.ensure_future(self._host.ended())
            await self._watch(ended)
            reason = "hung" if self._hung else "crashed"
            _LOG.error("an engine %s on %d questions", reason, len(self._jobs))
            self.started, self._hung = None, False
            self._observer.engine_ended(reason)
            self._fail(list(self._jobs))
            await self._wait_a_little()
            # A file that is gone now may be back later: only the first start gives up.
            await self._begin(retried=(EngineFailed, EngineRefused))

    async def _watch(self, ended: asyncio.Future[None]) -> None:
        """Until the engine has ended, by itself or because it hung.

        Looks are counted, not seconds: after a pause of the whole machine the engine has its time
        to report, as this has to hear it.
        """
        while not ended.done():
            await asyncio.wait([ended], timeout=self._hang_timeout_s / _LOOKS)
            self._silent_looks += 1
            if self._owes and self._silent_looks > _LOOKS and not ended.done():
                self._hung = True
                self._host.kill()
                await ended

    async def _wait_a_little(self) -> None:
        await asyncio.sleep(self._delay_s)
        self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)

    # -- jobs ------------------------------------------------------------------------------------

    @property
    def load(self) -> int:
        """How many jobs it has."""
        return len(self._jobs)

    @property
    def room(self) -> int:
        """How many jobs it would take now."""
        return self._most - len(self._jobs) if self.started else 0

    def give(self, jobs: list[Job]) -> None:
        if not self._owes:
            self._owes, self._silent_looks = True, 0  # it had nothing to say before
        self._jobs |= {job.key: job for job in jobs}
        self._host.order([Join(job.key, job.prompt, job.heard is not None) for job in jobs])

    def withdraw(self, job: Job) -> None:
        """Nobody waits for `job` any more. Does nothing for a job that is not here."""
        if self._jobs.pop(job.key, None) is not None:
            self._host.order([Leave(job.key)])

    def _hear(self, report: Report) -> None:
        self._silent_looks = 0
        self._count(report)
        for key, tokens in report.written.items():
            if (job := self._jobs.get(key)) is not None and job.heard is not None:
                job.heard(tokens)
        for finished in report.finished:
            job = self._jobs.pop(finished.key, None)
            if job is None:
                continue  # it was withdrawn during its last step
            queue_s = finished.joined_s - job.enqueued_s
            encode_s = finished.encoded_s - finished.joined_s
            timings = Timings(queue_s, finished.finished_s - finished.joined_s, encode_s)
            self._owner.settle(job, Answered(finished.hypothesis, timings))
            self._delay_s = self._first_delay_s
        self._fail(report.failed)
        self._owes = bool(self._jobs)
        self._owner.dispatch()

    def _count(self, report: Report) -> None:
        for joined in report.joined:
            here = [self._jobs[key] for key in joined.keys if key in self._jobs]
            waits_s = [joined.at_s - job.enqueued_s for job in here]
            self._observer.joined(waits_s, joined.lengths)
        for rows, busy_s in report.steps:
            self._observer.stepped(rows, busy_s)
        self._pace.note(sum(busy_s for _, busy_s in report.steps), len(report.finished))
        for finished in report.finished:
            encode_s = finished.encoded_s - finished.joined_s
            decode_s = finished.finished_s - finished.encoded_s
            self._observer.finished(encode_s, decode_s, len(finished.hypothesis.tokens))

    def _fail(self, keys: list[int]) -> None:
        for key in keys:
            if (job := self._jobs.pop(key, None)) is not None:
                self._owner.settle(job, EngineFailed())
