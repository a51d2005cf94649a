"""The routes that answer questions."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from equations.errors import EquationError
from service.api.answering import answer, each, runtime_of
from service.api.departure import while_connected
from service.api.problems import problem_of
from service.api.schemas import (
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
    413: {"model": Problem, "description": "Body too large."},
    422: {"model": Problem, "description": "Not understood; `span` and `expected` say where."},
    429: {"model": Problem, "description": "The queue is full; see `Retry-After`."},
    500: {"model": Problem, "description": "The engine failed; quote the `request_id`."},
    503: {"model": Problem, "description": "Not ready, or shutting down; see `Retry-After`."},
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


@router.post("/solve", summary="Answer a question", responses=PROBLEMS | _TIMES)
async def solve(body: SolveRequest, request: Request, response: Response) -> SolveResponse:
    """Answer one question with the model, and verify the answer exactly.

    `timing_ms` comes in headers too: `x-queue-time`, `x-inference-time`, `x-total-time`.
    """
    runtime = runtime_of(request)
    with runtime.request():
        work = answer(runtime, body.question, body.fallback, body.timeout_ms)
        answered = await while_connected(request, work)
    for part, value_ms in answered.timing_ms:
        response.headers[f"x-{part}-time"] = str(value_ms)
    return answered


@router.post("/solve/batch", summary="Answer many questions", responses=PROBLEMS)
async def solve_batch(body: BatchRequest, request: Request) -> BatchResponse:
    """Answer many questions, in order; one that fails is a problem in its place."""
    runtime = runtime_of(request)

    async def one(question: str) -> SolveResponse:
        return await answer(runtime, question, body.fallback, body.timeout_ms)

    with runtime.request():
        work = each(runtime, body.questions, one, in_place=(EquationError, ServiceError))
        outcomes = await while_connected(request, work)
    return BatchResponse(
        results=[
            outcome
            if isinstance(outcome, SolveResponse)
            else problem_of(outcome, request.state.request_id)
            for outcome in outcomes
        ]
    )
