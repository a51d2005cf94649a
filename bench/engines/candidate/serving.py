"""A simple, good server around an engine that answers whole batches, for the baselines.

A free worker takes the waiting questions, up to 64 rows of similar lengths. A batch call is divided
among all workers. Workers are threads where the engine releases the interpreter, else processes.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.thread import ThreadPoolExecutor
from typing import Protocol, Self

from bench.engines.candidate.rows import Rows
from bench.engines.scenarios import split, take

# For CTranslate2 in fp32 12% less time a question than with 32; 128 would save 7% more, in int8
# none. Its own batching (`max_batch_size`) takes the same time as this, within 3%.
_MOST_ROWS = 64
Load = Callable[[], Callable[[Rows], Rows]]


class Server(Protocol):
    """An engine with its workers, as the comparison uses it."""

    def answer(self, batch: Rows) -> Rows:
        """Answer one batch call; rows are in the order of `batch`."""
        ...

    def stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        """Return the seconds from each source's intended arrival (ascending) to its answer."""
        ...


class Pool:
    """Implements `Server` with `workers` that answer one batch each at a time."""

    def __init__(self, executor: Executor, workers: int, generate: Callable[[Rows], Rows]) -> None:
        self._executor = executor
        self._workers = workers
        self._generate = generate

    @classmethod
    def of_threads(cls, workers: int, generate: Callable[[Rows], Rows]) -> Pool:
        """`generate` must be safe to call from `workers` threads at a time."""
        return cls(ThreadPoolExecutor(workers), workers, generate)

    @classmethod
    def of_processes(cls, workers: int, load: Load) -> Pool:
        """Each process calls `load` (picklable) for an engine; a single worker is a thread here."""
        if workers == 1:
            return cls.of_threads(1, load())
        context = multiprocessing.get_context("spawn")
        executor = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(load,))
        return cls(executor, workers, _run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()

    def answer(self, batch: Rows) -> Rows:
        pieces = split([len(source) for source in batch], self._workers)
        futures = [self._submit([batch[i] for i in piece]) for piece in pieces]
        rows: Rows = [[] for _ in batch]
        for piece, future in zip(pieces, futures, strict=True):
            for index, row in zip(piece, future.result(), strict=True):
                rows[index] = row
        return rows

    def stream(self, sources: Rows, arrivals_s: Sequence[float]) -> list[float]:
        latencies_s = [0.0] * len(sources)
        waiting: list[int] = []
        running: dict[Future[Rows], list[int]] = {}
        arrived = finished = 0
        started = time.perf_counter()
        while finished < len(sources):
            now_s = time.perf_counter() - started
            while arrived < len(sources) and arrivals_s[arrived] <= now_s:
                waiting.append(arrived)
                arrived += 1
            while waiting and len(running) < self._workers:
                chosen = take([len(sources[i]) for i in waiting], _MOST_ROWS)
                batch = [waiting[i] for i in chosen]
                waiting = [i for i in waiting if i not in set(batch)]
                running[self._submit([sources[i] for i in batch])] = batch
            # With every worker busy, an arrival changes nothing until one is free.
            busy = len(running) == self._workers or arrived == len(sources)
            timeout_s = None if busy else arrivals_s[arrived] - now_s
            for future in _first(running, timeout_s):
                future.result()
                ended_s = time.perf_counter() - started
                for index in running.pop(future):
                    latencies_s[index] = ended_s - arrivals_s[index]
                    finished += 1
        return latencies_s

    def _submit(self, batch: Rows) -> Future[Rows]:
        return self._executor.submit(self._generate, batch)


def _first(running: dict[Future[Rows], list[int]], timeout_s: float | None) -> set[Future[Rows]]:
    """Return the finished ones, once one has finished or `timeout_s` is over."""
    if not running:
        time.sleep(max(0.0, timeout_s or 0.0))
        return set()
    return wait(running, timeout_s, FIRST_COMPLETED).done


_generate: Callable[[Rows], Rows]  # a worker process's engine


def _start(load: Load) -> None:
    global _generate  # noqa: PLW0603 - how a process pool hands state to its calls
    _generate = load()


def _run(batch: Rows) -> Rows:
    return _generate(batch)
