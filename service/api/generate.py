"""`POST /generate`: generate text from text, whole or as server-sent events."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response

from service.api import streaming
from service.api.answering import Fault, runtime_of, timeout_s
from service.api.disconnect import while_connected
from service.api.events import event
from service.api.generate_schemas import (
    GenerateAnswer,
    GenerateRequest,
    GenerateResponse,
    GenerateResults,
    TextPiece,
)
from service.api.generation import all_written, requests_of
from service.api.problems import problem_of
from service.api.record import record_of
from service.api.routes import PROBLEMS
from service.api.schemas import BatchProblem, ModelName
from service.errors import ServiceError
from service.generating.unfinished import Ending, Piece
from service.generating.written import Written

router = APIRouter(tags=["generate"])
_EVENTS = {
    "description": "The whole; for `texts`, `results`; with `stream` events: data with a `text` "
    "for each piece, and with `logprobs` its `token_logprobs`, then `done` with what is answered "
    "without `stream`, or `error` with a problem.",
    "content": {"text/event-stream": {}},
}


@router.post(
    "/generate",
    summary="Write a text",
    response_model=GenerateResponse | GenerateResults,
    responses={**PROBLEMS, 200: _EVENTS},
)
async def generate(body: GenerateRequest, request: Request, response: Response) -> object:
    """Return the model's output for a text, or for each of several.

    No prompt is added, and nothing is verified. `timeout_ms` is the deadline of the whole request.
    The settings have the names and meanings of transformers' `GenerationConfig`.
    """
    runtime, record = runtime_of(request), record_of(request)
    record.questions = body.sources
    limit_s = timeout_s(runtime, body.timeout_ms)
    asked = requests_of(runtime, body.sources, body)
    form = _Form(request, body)
    if body.stream:
        return await streaming.stream(request, asked, limit_s, form)
    in_place = () if body.texts is None else ServiceError
    with runtime.admission.request():
        work = all_written(runtime, asked, limit_s, in_place=in_place)
        outcomes = await while_connected(request, work)
    if body.texts is not None:
        return GenerateResults(results=[form.result(outcome) for outcome in outcomes])
    (written,) = outcomes
    assert isinstance(written, Written), "an error in place of a lone text: this is a bug"
    record.timings = written.timings
    answer = form.answer(written)
    response.headers.update(answer.timing_ms.headers())
    return answer


class _Form:
    """The form of the answers to one request."""

    def __init__(self, request: Request, body: GenerateRequest) -> None:
        self._request_id = record_of(request).request_id
        self._model = ModelName.of(runtime_of(request).model.manifest)
        self._with_tokens = body.logprobs is not None

    def answer(self, written: Written) -> GenerateResponse:
        return GenerateResponse.of(written, self._model, with_tokens=self._with_tokens)

    def result(self, outcome: Written | Fault) -> GenerateAnswer | BatchProblem:
        if isinstance(outcome, Written):
            return GenerateAnswer.in_place(self.answer(outcome))
        return BatchProblem.in_place(problem_of(outcome, self._request_id))

    def events(self, _: int, item: Piece | Ending) -> Iterator[bytes]:
        piece = item.rest if isinstance(item, Ending) else item
        if piece.text or piece.tokens:
            yield event(TextPiece.of(piece, with_tokens=self._with_tokens))
        if isinstance(item, Ending):
            yield event(self.answer(item.written), "done")

    def end(self) -> Iterator[bytes]:
        yield from ()

    def failure(self, error: ServiceError) -> bytes:
        return event(problem_of(error, self._request_id), "error")
