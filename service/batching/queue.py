"""The queue of jobs that wait for an engine, oldest first."""

from __future__ import annotations

from itertools import islice

from service.batching.policy import BatchLimits, Size, enough_free, joining
from service.contracts import Job, Observer


class WaitingQueue:
    """Hold jobs of at most `most` rows, with `most_tokens` source tokens between them."""

    def __init__(self, *, most: int, most_tokens: float, observer: Observer) -> None:
        self._most = most
        self._most_tokens = most_tokens
        self._observer = observer
        self._jobs: dict[int, Job] = {}
        self._tokens = 0
        self.rows = 0  # of the jobs that wait

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def full(self) -> bool:
        return self.rows >= self._most or self._tokens >= self._most_tokens

    def put(self, job: Job) -> bool:
        """Add `job` and return true, or return false if it does not fit.

        An empty queue takes a job of any length.
        """
        too_long = self._jobs and self._tokens + job.length > self._most_tokens
        if self.full or too_long:
            return False
        self._jobs[job.key] = job
        self._tokens += job.length
        self.rows += job.rows
        self._observer.queued(len(self._jobs))
        return True

    def wider_than(self, rows: int) -> list[Job]:
        """Return the jobs of more than so many rows."""
        return [job for job in self._jobs.values() if job.rows > rows]

    def take(self, free: int, limits: BatchLimits, *, sharing: int) -> list[Job]:
        """Remove and return the jobs that join an engine with `free` rows; see `policy.joining`.

        Jobs of more rows than it has at all are left to another engine.
        """
        # Called for every report: the cheap check comes first, and only jobs that could join
        # are examined.
        fitting = (job for job in self._jobs.values() if job.rows <= limits.rows)
        oldest = next(fitting, None)
        if oldest is None or not enough_free(self.rows, oldest.rows, free, limits):
            return []
        jobs = [oldest, *islice(fitting, max(1, sharing) * limits.rows - 1)]
        sizes = [Size(job.length, job.rows) for job in jobs]
        count = joining(sizes, free, limits, sharing=sharing)
        taken = jobs[:count]
        for job in taken:
            self._discard(job)
        self._observer.queued(len(self._jobs))
        return taken

    def remove(self, job: Job) -> None:
        """Remove `job`; do nothing if it does not wait here."""
        if job.key in self._jobs:
            self._discard(job)
            self._observer.queued(len(self._jobs))

    def _discard(self, job: Job) -> None:
        del self._jobs[job.key]
        self._tokens -= job.length
        self.rows -= job.rows
