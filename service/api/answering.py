"""Questions to answers, for every route that takes them, one or many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fastapi import Request

from equations.errors import EquationError
from service.api.schemas import ModelName, SolveResponse
from service.errors import QuestionTooLong, ServiceError
from service.runtime import Runtime
from service.solving import Fallback

Fault = EquationError | ServiceError


def runtime_of(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def answer(
    runtime: Runtime, question: str, fallback: Fallback, timeout_ms: int | None
) -> SolveResponse:
    """Raises what `Solver.solve` raises."""
    timeout_s = timeout_ms / 1000 if timeout_ms else runtime.settings.default_timeout_s
    solution = await runtime.solver.solve(question, timeout_s=timeout_s, fallback=fallback)
    runtime.metrics.answered(solution)
    manifest = runtime.model.manifest
    return SolveResponse.of(solution, ModelName(name=manifest.name, version=manifest.version))


async def answer_all(
    runtime: Runtime,
    questions: Sequence[str],
    fallback: Fallback,
    timeout_ms: int | None,
    *,
    in_place: type[Fault] | tuple[type[Fault], ...],
) -> list[SolveResponse | Fault]:
    """Answers in order. A fault `in_place` stands for its answer; any other ends all of them.

    Raises that other one, and `QuestionTooLong` for more questions than a batch may have.
    """
    most = runtime.settings.max_batch_questions
    if len(questions) > most:
        raise QuestionTooLong(f"{len(questions)} questions; a batch takes at most {most}")

    # A quarter of the queue at a time: one large batch must not shut the others out.
    places = asyncio.Semaphore(max(1, runtime.settings.max_queue // 4))

    async def one(question: str) -> SolveResponse | Fault:
        async with places:
            await asyncio.sleep(0)  # lets other requests in between refused questions
            try:
                return await answer(runtime, question, fallback, timeout_ms)
            except in_place as fault:
                return fault

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(question)) for question in questions]
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults
    return [task.result() for task in tasks]
