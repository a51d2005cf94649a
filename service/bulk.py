"""Many questions without HTTP: what the command line's `batch` does, in one process or on many."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine.bundle import BundleError
from equations.errors import EquationError
from service.errors import ServiceError
from service.runtime import Model, Runtime
from service.settings import Settings
from service.solving import Fallback


class InputError(ValueError):
    """A line of an input file that is not a question; says which."""


def read_questions(path: Path) -> Iterator[str]:
    """The `question` of each line of a JSON Lines file. Raises `InputError` with the line."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise InputError(f"{path}:{number}: not JSON: {error}") from error
            question = record.get("question") if isinstance(record, dict) else None
            if not isinstance(question, str):
                raise InputError(f'{path}:{number}: expected {{"question": "..."}}')
            yield question


@asynccontextmanager
async def running(settings: Settings, model: Model) -> AsyncIterator[Runtime]:
    """A runtime that takes questions until the block ends.

    Raises `EngineRefused`, and `BundleError` for a model that solves no equations.
    """
    if not model.manifest.solves:
        raise BundleError(f"{settings.model} solves no equations; it serves POST /generate")
    runtime = Runtime(settings, model)
    try:
        await runtime.start()
        yield runtime
    finally:
        await runtime.stop()


async def answers(
    runtime: Runtime, questions: Sequence[str], fallback: Fallback
) -> AsyncIterator[dict[str, Any]]:
    """Results in the order of the questions, with as many under way as the queue holds.

    A question that fails has an `error`, on one line, in place of its answer.
    """

    async def one(question: str) -> dict[str, Any]:
        timeout_s = runtime.settings.default_timeout_s
        try:
            solution = await runtime.solver.solve(question, timeout_s=timeout_s, fallback=fallback)
        except (EquationError, ServiceError) as error:
            return {"question": question, "error": str(error).splitlines()[0]}
        return {
            "question": question,
            "answer": solution.answer,
            "verdict": solution.verdict,
            "reason": solution.reason,
            "source": solution.source,
            "work": solution.work,
            "confidence": solution.confidence,
            "tries": solution.tries,
        }

    rows = runtime.settings.max_batch_rows * len(runtime.model.hosts)
    at_once = min(runtime.settings.max_queue, 4 * rows)
    under_way: deque[asyncio.Task[dict[str, Any]]] = deque()
    for question in questions:
        if len(under_way) == at_once:
            yield await under_way.popleft()
        under_way.append(asyncio.create_task(one(question)))
    while under_way:
        yield await under_way.popleft()
