"""Answer many questions with the engines of this machine, without HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any

from engine.bundle import BundleError
from equations.errors import EquationError
from service.errors import EngineFailed, EngineFull, NotReady, Overloaded, ServiceError
from service.runtime import Model, Runtime
from service.settings import Settings
from service.solving import Fallback, Solution

Pause = Callable[[float], Awaitable[None]]
_TIMEOUT_S = 3600.0  # no client waits for a single row, and the supervisor detects a hung engine
_TRIES = 5  # for a question whose engine failed; about 15 s for the engine to restart
_PASSING = (EngineFailed, EngineFull, NotReady, Overloaded)


@asynccontextmanager
async def running(settings: Settings, model: Model) -> AsyncIterator[Runtime]:
    """Run a runtime that accepts questions until the block ends.

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
    runtime: Runtime,
    questions: AsyncIterable[str],
    fallback: Fallback,
    *,
    pause: Pause = asyncio.sleep,
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield results in the order of the questions, with as many under way as the queue holds.

    The result of a question that fails is an `error` of one line.
    """
    rows = runtime.settings.max_batch_rows * len(runtime.model.hosts)
    slots = asyncio.Semaphore(min(runtime.settings.max_queue, 4 * rows))
    under_way: asyncio.Queue[asyncio.Task[dict[str, Any]] | None] = asyncio.Queue()

    async def ask() -> None:
        try:
            async for question in questions:
                await slots.acquire()
                result = _result(runtime, question, fallback, pause)
                under_way.put_nowait(asyncio.create_task(result))
        finally:
            under_way.put_nowait(None)

    asking = asyncio.create_task(ask())
    try:
        while (task := await under_way.get()) is not None:
            yield await task
            slots.release()
        await asking  # raises what reading the questions raised
    finally:
        await _cancel([asking])
        left = [under_way.get_nowait() for _ in range(under_way.qsize())]
        await _cancel([task for task in left if task is not None])


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _result(
    runtime: Runtime, question: str, fallback: Fallback, pause: Pause
) -> dict[str, Any]:
    for tries in range(1, _TRIES + 1):
        try:
            solution = await runtime.solver.solve(question, timeout_s=_TIMEOUT_S, fallback=fallback)
            return _described(solution)
        except _PASSING as error:
            if tries == _TRIES:
                return {"error": str(error)}
            await pause(2.0 ** (tries - 1))
        except (EquationError, ServiceError) as error:
            return {"error": str(error).splitlines()[0]}
    raise AssertionError("every try returns or goes on: this is a bug")


def _described(solution: Solution) -> dict[str, Any]:
    return {
        "answer": solution.answer,
        "solution": None if solution.values is None else dict(solution.values),
        "verdict": solution.verdict,
        "reason": solution.reason,
        "source": solution.source,
        "work": solution.work,
        "confidence": solution.confidence,
        "tries": solution.tries,
    }
