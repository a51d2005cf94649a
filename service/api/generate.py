"""`POST /generate`: generate text from text, whole or as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response

from service.api.answering import runtime_of, timeout_s
from service.api.disconnect import while_connected
from service.api.events import EventStream, event
from service.api.problems import problem_of
from service.api.record import RequestRecord, record_of
from service.api.routes import PROBLEMS
from service.api.schemas import GenerateRequest, GenerateResponse, ModelName, Piece
from service.errors import ServiceError
from service.generating import Written
from service.runtime import Runtime

router = APIRouter(tags=["generate"])
_EVENTS = {
    "description": "The whole; with `stream` events: data with a `text` for each piece, then "
    "`done` with what is answered without `stream`, or `error` with a problem.",
    "content": {"text/event-stream": {}},
}


@router.post(
    "/generate",
    summary="Write a text",
    response_model=GenerateResponse,
    responses={**PROBLEMS, 200: _EVENTS},
)
async def generate(body: GenerateRequest, request: Request, response: Response) -> object:
    """Return the model's output for a text. No prompt is added, and nothing is verified."""
    runtime = runtime_of(request)
    record = record_of(request)
    record.questions = (body.text,)
    if body.stream:
        events = _events(runtime, body, record)
        # An error before the first piece gets its own status.
        first = await while_connected(request, _next(events))
        return EventStream(first, events)
    with runtime.admission.request():
        work = runtime.generator.generate(
            body.text,
            max_new_tokens=body.max_new_tokens,
            timeout_s=timeout_s(runtime, body.timeout_ms),
        )
        written = await while_connected(request, work)
    record.timings = written.timings
    answer = _answer(runtime, written)
    response.headers.update(answer.timing_ms.headers())
    return answer


async def _events(
    runtime: Runtime, body: GenerateRequest, record: RequestRecord
) -> AsyncGenerator[bytes, None]:
    begun = False
    with runtime.admission.request():
        news = runtime.generator.stream(
            body.text,
            max_new_tokens=body.max_new_tokens,
            timeout_s=timeout_s(runtime, body.timeout_ms),
        )
        try:
            async with aclosing(news):
                async for item in news:
                    if isinstance(item, Written):
                        record.timings = item.timings
                        yield event(_answer(runtime, item), "done")
                    else:
                        yield event(Piece(text=item))
                    begun = True
        except ServiceError as error:
            if not begun:
                raise
            yield event(problem_of(error, record.request_id), "error")


async def _next(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)


def _answer(runtime: Runtime, written: Written) -> GenerateResponse:
    return GenerateResponse.of(written, ModelName.of(runtime.model.manifest))
