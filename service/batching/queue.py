"""The queue of jobs that wait for an engine, oldest first."""

from __future__ import annotations

from itertools import islice

from service.batching.policy import BatchLimits, Size, enough_free, joining
from service.contracts import Job, Observer


class WaitingQueue:
    """Hold jobs of at most `most` rows, with `most_tokens` source tokens between them."""

    def __init__(
        self, limits: BatchLimits, *, most: int, most_tokens: float, observer: Observer
    ) -> None:
        self._limits = limits
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

    def take(self, free: int, *, sharing: int) -> list[Job]:
        """Remove and return the jobs that join an engine with `free` rows; see `policy.joining`."""
        # Called for every report: the cheap check comes first, and only jobs that could join
        # are examined.
        if not self._jobs:
            return []
        oldest = next(iter(self._jobs.values()))
        if not enough_free(self.rows, oldest.rows, free, self._limits):
            return []
        jobs = list(islice(self._jobs.values(), max(1, sharing) * self._limits.rows))
        sizes = [Size(job.length, job.rows) for job in jobs]
        count = joining(sizes, free, self._limits, sharing=sharing)
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
