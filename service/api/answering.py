"""What the routes share: questions to answers, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import Request

from equations.errors import EquationError
from service.api.schemas import ModelName, SolveResponse
from service.errors import LimitExceeded, ServiceError
from service.runtime import Runtime
from service.solving import Fallback, Solution

Fault = EquationError | ServiceError
Result = TypeVar("Result")


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def timeout_s(runtime: Runtime, timeout_ms: int | None) -> float:
    """Of a request that names one, or none."""
    return timeout_ms / 1000 if timeout_ms else runtime.settings.default_timeout_s


async def solution_of(
    runtime: Runtime, question: str, fallback: Fallback, timeout_ms: int | None
) -> Solution:
    """Raises what `Solver.solve` raises."""
    runtime.asked.add(question)
    solution = await runtime.solver.solve(
        question, timeout_s=timeout_s(runtime, timeout_ms), fallback=fallback
    )
    runtime.metrics.answered(solution)
    return solution


def answer_of(runtime: Runtime, solution: Solution) -> SolveResponse:
    return SolveResponse.of(solution, ModelName.of(runtime.model.manifest))


async def each(
    runtime: Runtime,
    texts: Sequence[str],
    one: Callable[[str], Awaitable[Result]],
    *,
    in_place: type[Fault] | tuple[type[Fault], ...],
) -> list[Result | Fault]:
    """What `one` gives for each of `texts`, in order.

    A fault `in_place` stands where the result would; any other ends all of them. Raises that other
    one, and `LimitExceeded` for more texts than a batch may have.
    """
    most = runtime.settings.max_batch_questions
    if len(texts) > most:
        raise LimitExceeded(f"{len(texts)} questions; a batch takes at most {most}")

    # A quarter of the queue at a time: one large batch must not shut the others out.
    places = asyncio.Semaphore(max(1, runtime.settings.max_queue // 4))

    async def settled(text: str) -> Result | Fault:
        async with places:
            await asyncio.sleep(0)  # lets other requests in between refused questions
            try:
                return await one(text)
            except in_place as fault:
                return fault

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(settled(text)) for text in texts]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    return [task.result() for task in tasks]
