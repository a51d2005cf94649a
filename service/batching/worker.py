"""One thread that keeps one engine busy: jobs join, each step moves all of them on, some finish."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable

from service.batching.queue import WaitingQueue
from service.contracts import Answered, Engine, Hypothesis, Job, Observer, Timings
from service.errors import EngineFailed, NotReady, ServiceError

_LOG = logging.getLogger(__name__)
Settle = Callable[[list[tuple[Job, Answered | ServiceError]]], None]


class Worker:
    """Runs `engine` from `start` until the queue is closed.

    `settle` is told every outcome, and `ended` that there will be no more; both in this thread.
    """

    def __init__(
        self,
        engine: Engine,
        queue: WaitingQueue,
        *,
        settle: Settle,
        ended: Callable[[], None],
        observer: Observer,
        clock: Callable[[], float],
        name: str,
    ) -> None:
        self._engine = engine
        self._queue = queue
        self._settle = settle
        self._ended = ended
        self._observer = observer
        self._clock = clock
        self._jobs: dict[Hashable, Job] = {}  # in the engine's rows
        self._alive = False
        # A daemon, so that an engine that hangs cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._alive = True
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes jobs."""
        return self._alive

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while True:
                free = self._engine.rows - self._engine.active
                joining = self._queue.take(free, wait=not self._jobs)
                if joining is None:
                    break
                self._advance(joining)
        except BaseException:
            _LOG.critical("a worker died: this is a bug", exc_info=True)
        finally:
            self._alive = False
            self._fail(NotReady)
            self._ended()

    def _advance(self, joining: list[Job]) -> None:
        """Take `joining` in and make one step. Whatever an engine raises fails its rows alone."""
        self._drop_departed()
        self._note_joining(joining)
        rows, started = len(self._jobs), self._clock()
        try:
            if joining:
                self._engine.join({id(job): job.prompt for job in joining})
                encoded = self._clock()
                for job in joining:
                    job.encoded_s = encoded
            written = self._engine.step()
            finished = [(self._jobs[key], hypothesis) for key, hypothesis in written.items()]
        except Exception:
            _LOG.exception("the engine failed on %d rows", rows)
            self._fail(EngineFailed)
            self._engine.clear()
            return
        self._observer.stepped(rows, self._clock() - started)
        self._finish(finished)

    def _note_joining(self, joining: list[Job]) -> None:
        now = self._clock()
        for job in joining:
            job.joined_s = now
            self._jobs[id(job)] = job
        if joining:
            waits_s = [now - job.enqueued_s for job in joining]
            self._observer.joined(waits_s, [job.length for job in joining])

    def _drop_departed(self) -> None:
        departed = [key for key, job in self._jobs.items() if job.departed]
        if departed:
            self._engine.leave(departed)
            self._observer.dropped(sum(len(self._jobs[key].replies) for key in departed))
            for key in departed:
                del self._jobs[key]

    def _finish(self, finished: list[tuple[Job, Hypothesis]]) -> None:
        now = self._clock()
        outcomes: list[tuple[Job, Answered | ServiceError]] = []
        for job, hypothesis in finished:
            del self._jobs[id(job)]
            timings = Timings(job.joined_s - job.enqueued_s, now - job.joined_s)
            outcomes.append((job, Answered(hypothesis, timings)))
            encode_s, decode_s = job.encoded_s - job.joined_s, now - job.encoded_s
            self._observer.finished(encode_s, decode_s, len(hypothesis.tokens))
        if outcomes:
            self._settle(outcomes)

    def _fail(self, error: type[ServiceError]) -> None:
        jobs, self._jobs = list(self._jobs.values()), {}
        if jobs:
            self._settle([(job, error()) for job in jobs])
