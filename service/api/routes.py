"""The routes that answer questions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from equations.errors import EquationError
from service.api.answering import answer_of, each, runtime_of, solution_of, timeout_s
from service.api.disconnect import while_connected
from service.api.middleware.fast_path import FastRoute
from service.api.problems import problem_of
from service.api.record import record_of
from service.api.schemas import (
    BatchAnswer,
    BatchProblem,
    BatchRequest,
    BatchResponse,
    Problem,
    SolveRequest,
    SolveResponse,
    TimingMs,
)
from service.errors import ServiceError

router = APIRouter(tags=["solve"])
PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "API keys are asked for, and this is none of them."},
    408: {"model": Problem, "description": "The body took too long to arrive."},
    413: {"model": Problem, "description": "Body too large."},
    422: {"model": Problem, "description": "Not understood; `span` and `expected` say where."},
    429: {"model": Problem, "description": "The queue is full; see `Retry-After`."},
    500: {"model": Problem, "description": "The engine failed; quote the `request_id`."},
    503: {
        "model": Problem,
        "description": "Not ready, shutting down, or the engine's memory is full: `Retry-After`.",
    },
    504: {"model": Problem, "description": "The deadline passed."},
}
_TIMES: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            f"x-{part}-time": {"description": "Milliseconds.", "schema": {"type": "number"}}
            for part in TimingMs.model_fields
        }
    }
}


@router.post(
    "/solve",
    summary="Answer a question",
    response_model=SolveResponse,
    responses=PROBLEMS | _TIMES,
)
async def solve(body: SolveRequest, request: Request) -> Response:
    """Answer one question with the model, and verify the answer exactly.

    The headers `x-queue-time`, `x-inference-time` and `x-total-time` repeat `timing_ms`.
    """
    runtime = runtime_of(request)
    record = record_of(request)
    record.questions = (body.question,)
    with runtime.admission.request():
        limit_s = timeout_s(runtime, body.timeout_ms)
        runtime.admission.require_deadline(body.question, limit_s)
        work = solution_of(runtime, body.question, body.fallback, limit_s)
        solution = await while_connected(request, work)
    record.timings = solution.timings
    answer = answer_of(runtime, solution)
    # Serialised here: FastAPI would validate the body again.
    return Response(
        answer.model_dump_json(),
        headers=answer.timing_ms.headers(),
        media_type="application/json",
    )


DIRECT = {"/solve": FastRoute(SolveRequest, solve)}


@router.post("/solve/batch", summary="Answer many questions", responses=PROBLEMS)
async def solve_batch(body: BatchRequest, request: Request) -> BatchResponse:
    """Answer many questions in order; the result of a failed one is a problem.

    `timeout_ms` is the deadline of the whole request. Each question that is not answered by then
    has a problem with status 504 as its result.
    """
    runtime = runtime_of(request)
    record_of(request).questions = body.questions

    async def one(question: str, left_s: float) -> SolveResponse:
        solution = await solution_of(runtime, question, body.fallback, left_s, wait=True)
        return answer_of(runtime, solution)

    with runtime.admission.request():
        work = each(
            runtime,
            body.questions,
            one,
            timeout_s=timeout_s(runtime, body.timeout_ms),
            in_place=(EquationError, ServiceError),
        )
        outcomes = await while_connected(request, work)
    return BatchResponse(
        results=[
            BatchAnswer.in_place(outcome)
            if isinstance(outcome, SolveResponse)
            else BatchProblem.in_place(problem_of(outcome, request.state.request_id))
            for outcome in outcomes
        ]
    )
