"""Answer one question, or the questions of one request; shared by the routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from fastapi import Request

from equations.errors import EquationError
from service.api.schemas import ModelName, SolveResponse
from service.errors import DeadlineExceeded, LimitExceeded, ServiceError
from service.runtime import Runtime
from service.solving import Fallback, Solution

Fault = EquationError | ServiceError
Item = TypeVar("Item")
Result = TypeVar("Result")


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


def timeout_s(runtime: Runtime, timeout_ms: int | None) -> float:
    """Return the timeout of a request in seconds: `timeout_ms`, or the default for `None`."""
    return timeout_ms / 1000 if timeout_ms else runtime.settings.default_timeout_s


async def solution_of(
    runtime: Runtime, question: str, fallback: Fallback, timeout_s: float, *, wait: bool = False
) -> Solution:
    """Return the solution of `question`, and count it. Raises what `Solver.solve` raises."""
    runtime.admission.recent.add(question)
    solution = await runtime.solver.solve(
        question, timeout_s=timeout_s, fallback=fallback, wait=wait
    )
    runtime.metrics.answered(solution)
    return solution


def answer_of(runtime: Runtime, solution: Solution) -> SolveResponse:
    return SolveResponse.of(solution, ModelName.of(runtime.model.manifest))


def require_batch(runtime: Runtime, items: Sequence[object]) -> None:
    """Raise `LimitExceeded` for more items than one request may have."""
    limit = runtime.settings.max_batch_questions
    if len(items) > limit:
        raise LimitExceeded(f"{len(items)} questions; a batch takes at most {limit}")


def slots_of(runtime: Runtime, rows: int = 1) -> asyncio.Semaphore:
    """Return the slots that the items of one request share, each a job of so many `rows`."""
    # A quarter of the queue at a time: one large batch must not lock the others out, nor itself.
    return asyncio.Semaphore(max(1, runtime.settings.max_queue // (4 * rows)))


async def each(
    runtime: Runtime,
    items: Sequence[Item],
    one: Callable[[Item, float], Awaitable[Result]],
    *,
    timeout_s: float,
    in_place: type[Fault] | tuple[type[Fault], ...],
    rows: int = 1,
) -> list[Result | Fault]:
    """Return the result of `one` for each of `items`, jobs of so many `rows`, in order.

    All items share one deadline: `one` is called with an item and the seconds that are left, and
    items that start too late get `DeadlineExceeded`. An error of the types `in_place` is the
    result of its item; any other error ends the batch and is raised. Raises `LimitExceeded` for
    more items than a batch may have.
    """
    require_batch(runtime, items)
    slots = slots_of(runtime, rows)
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + timeout_s

    async def settled(item: Item) -> Result | Fault:
        async with slots:
            await asyncio.sleep(0)  # lets other requests run between rejected questions
            try:
                left_s = deadline_s - loop.time()
                if left_s <= 0:
                    runtime.metrics.abandoned("deadline")
                    raise DeadlineExceeded
                return await one(item, left_s)
            except in_place as fault:
                return fault

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(settled(item)) for item in items]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    return [task.result() for task in tasks]
