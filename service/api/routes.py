"""The routes that answer questions."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from equations.errors import EquationError
from service.api.departure import while_connected
from service.api.problems import problem_of
from service.api.record import record_of
from service.api.schemas import (
    BatchRequest,
    BatchResponse,
    ModelName,
    Problem,
    SolveRequest,
    SolveResponse,
)
from service.errors import QuestionTooLong, ServiceError
from service.runtime import Runtime
from service.solving import Fallback, Solution

router = APIRouter(tags=["solve"])
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "API keys are asked for, and this is none of them."},
    408: {"model": Problem, "description": "The body took too long to arrive."},
    413: {"model": Problem, "description": "Body too large."},
    422: {"model": Problem, "description": "Not understood; `span` and `expected` say where."},
    429: {"model": Problem, "description": "The queue is full; see `Retry-After`."},
    500: {"model": Problem, "description": "The engine failed; quote the `request_id`."},
    503: {"model": Problem, "description": "Not ready, or shutting down; see `Retry-After`."},
    504: {"model": Problem, "description": "The deadline passed."},
}


@router.post("/solve", response_model=SolveResponse, responses=PROBLEMS)
async def solve(body: SolveRequest, request: Request) -> Response:
    """Answer one question with the model, and verify the answer exactly.

    `timing_ms` comes in headers too: `x-queue-time`, `x-inference-time`, `x-total-time`.
    """
    runtime = _runtime(request)
    record = record_of(request)
    record.questions = (body.question,)
    with runtime.request():
        work = _solve(runtime, body.question, body.fallback, body.timeout_ms)
        solution = await while_connected(request, work)
    record.timings = solution.timings
    answer = _answer(runtime, solution)
    headers = {f"x-{part}-time": str(value_ms) for part, value_ms in answer.timing_ms}
    # Written here: FastAPI would validate once more what has just been made.
    return Response(answer.model_dump_json(), headers=headers, media_type="application/json")


@router.post("/solve/batch", responses=PROBLEMS)
async def solve_batch(body: BatchRequest, request: Request) -> BatchResponse:
    """Answer many questions, in order; one that fails is a problem in its place."""
    runtime = _runtime(request)
    most = runtime.settings.max_batch_questions
    if len(body.questions) > most:
        raise QuestionTooLong(f"{len(body.questions)} questions; a batch takes at most {most}")

    record_of(request).questions = body.questions

    # A quarter of the queue at a time: one large batch must not shut the others out.
    places = asyncio.Semaphore(max(1, runtime.settings.max_queue // 4))

    async def one(question: str) -> SolveResponse | Problem:
        async with places:
            await asyncio.sleep(0)  # lets other requests in between refused questions
            try:
                solution = await _solve(runtime, question, body.fallback, body.timeout_ms)
                return _answer(runtime, solution)
            except (EquationError, ServiceError) as error:
                return problem_of(error, request.state.request_id)

    async def every() -> list[SolveResponse | Problem]:
        return await asyncio.gather(*map(one, body.questions))

    with runtime.request():
        return BatchResponse(results=await while_connected(request, every()))


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


async def _solve(
    runtime: Runtime, question: str, fallback: Fallback, timeout_ms: int | None
) -> Solution:
    timeout_s = timeout_ms / 1000 if timeout_ms else runtime.settings.default_timeout_s
    solution = await runtime.solver.solve(question, timeout_s=timeout_s, fallback=fallback)
    runtime.metrics.answered(solution)
    return solution


def _answer(runtime: Runtime, solution: Solution) -> SolveResponse:
    manifest = runtime.model.manifest
    return SolveResponse.of(solution, ModelName(name=manifest.name, version=manifest.version))
