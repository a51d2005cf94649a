"""`cybersolve batch --ray`: questions answered by the workers of a Ray cluster.

The command reads, writes and resumes; this backend gives the cluster's workers parts of the
questions. When a worker dies, Ray starts it anew and repeats its calls. Settings and the model's
path are the driver's; workers need the same installation.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import ray

from deploy.ray.cores import on_one_core
from service.bulk.answering import answers, running
from service.bulk.backends import Numbered, Result
from service.runtime import load_model
from service.settings import Settings
from service.solving import Fallback

_ROOT = Path(__file__).resolve().parents[2]
PART = 1000  # questions: seconds of work, so that little is lost and calls cost little
_UNDER_WAY = 2  # parts for each worker: one computed, one waiting


async def answer(
    questions: AsyncIterable[Numbered],
    settings: Settings,
    fallback: Fallback,
    address: str | None = None,
    *,
    part: int = PART,
) -> AsyncGenerator[Result, None]:
    """Yield a result for each question, part by part as they are finished."""
    if not ray.is_initialized():
        # Ray puts the driver's working directory on the path of every worker: this has our code.
        with chdir(_ROOT):
            ray.init(address=address, log_to_driver=False)
    # One worker for each core that the cluster has now; each holds the model.
    count = max(1, int(ray.cluster_resources().get("CPU", 1)))
    workers = [Worker.remote(settings) for _ in range(count)]  # type: ignore[attr-defined]
    free = workers * _UNDER_WAY
    under_way: dict[Any, tuple[list[int], Any]] = {}
    try:
        async for indexes, texts in _parts(questions, part):
            if not free:
                for result in await _finished(under_way, free):
                    yield result
            worker = free.pop(0)
            under_way[worker.answer.remote(texts, fallback)] = (indexes, worker)
        while under_way:
            for result in await _finished(under_way, free):
                yield result
    finally:
        for worker in workers:
            ray.kill(worker)


async def _parts(
    questions: AsyncIterable[Numbered], size: int
) -> AsyncIterator[tuple[list[int], list[str]]]:
    part: list[Numbered] = []
    async for numbered in questions:
        part.append(numbered)
        if len(part) == size:
            yield _columns(part)
            part = []
    if part:
        yield _columns(part)


def _columns(part: Sequence[Numbered]) -> tuple[list[int], list[str]]:
    return [index for index, _ in part], [text for _, text in part]


async def _finished(under_way: dict[Any, tuple[list[int], Any]], free: list[Any]) -> list[Result]:
    """Wait for a part; return its results."""
    (answered,), _ = await asyncio.to_thread(ray.wait, list(under_way), num_returns=1)
    indexes, worker = under_way.pop(answered)
    free.append(worker)
    return list(zip(indexes, ray.get(answered), strict=True))


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
class Worker:
    """A process with the model; Ray restarts it, and repeats its calls, should it die."""

    def __init__(self, settings: Settings) -> None:
        self._settings = on_one_core(settings)
        self._model = load_model(self._settings, one_attempt=True)

    def answer(self, questions: list[str], fallback: Fallback) -> list[dict[str, Any]]:
        async def texts() -> AsyncIterator[str]:
            for question in questions:
                yield question

        async def every() -> list[dict[str, Any]]:
            async with running(self._settings, self._model) as runtime:
                return [result async for result in answers(runtime, texts(), fallback)]

        return asyncio.run(every())
