"""The jobs that wait: put there by the event loop, taken by the workers' threads."""

from __future__ import annotations

import threading

from service.batching.policy import BatchLimits, joining
from service.contracts import Job, Observer


class WaitingQueue:
    """Thread-safe and bounded. Jobs that nobody waits for any more are dropped and counted."""

    def __init__(self, limits: BatchLimits, *, most: int, observer: Observer) -> None:
        self._limits = limits
        self._most = most
        self._observer = observer
        self._jobs: list[Job] = []
        self._idle_workers = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, job: Job) -> bool:
        """Whether there was a place for `job`."""
        with self._changed:
            if len(self._jobs) >= self._most:
                self._drop_departed()
            if len(self._jobs) >= self._most:
                return False
            self._jobs.append(job)
            self._observer.queued(len(self._jobs))
            self._changed.notify()
            return True

    def take(self, free: int, *, wait: bool) -> list[Job] | None:
        """The jobs that join a worker with `free` rows, perhaps none; with `wait` not before there
        are some. `None` once the queue is closed.
        """
        with self._changed:
            self._idle_workers += wait
            try:
                while True:
                    if self._closed:
                        return None
                    taken = self._take(free)
                    if taken or not wait:
                        return taken
                    self._changed.wait()
            finally:
                self._idle_workers -= wait

    def _take(self, free: int) -> list[Job]:
        if not free:
            return []  # before any look at a queue that may be long: this is asked at every step
        self._drop_departed()
        lengths = [job.length for job in self._jobs]
        chosen = set(joining(lengths, free, self._limits, sharing=self._idle_workers))
        if not chosen:
            return []
        taken = [job for index, job in enumerate(self._jobs) if index in chosen]
        self._keep([job for index, job in enumerate(self._jobs) if index not in chosen])
        if self._jobs:
            self._changed.notify()
        return taken

    def _drop_departed(self) -> None:
        kept = [job for job in self._jobs if not job.departed]
        if len(kept) < len(self._jobs):
            self._observer.dropped(sum(len(job.replies) for job in self._jobs if job.departed))
            self._keep(kept)

    def _keep(self, jobs: list[Job]) -> None:
        self._observer.queued(len(jobs))  # first: should it raise, no job is lost
        self._jobs = jobs

    def close(self) -> None:
        """Give no more jobs; every `take` returns `None`."""
        with self._changed:
            self._closed = True
            self._jobs = []
            self._observer.queued(0)
            self._changed.notify_all()
