"""`POST /v1/completions` and `GET /v1/models`, and the same under `/openai`, as KServe has them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from service.api import streaming
from service.api.answering import runtime_of, timeout_s
from service.api.disconnect import while_connected
from service.api.generation import all_written, requests_of
from service.api.open_inference.errors import NoSuchModel
from service.api.openai.completion import CompletionForm
from service.api.openai.schemas import (
    Completion,
    CompletionRequest,
    OpenAIErrorBody,
    ServedModel,
    ServedModels,
)
from service.api.record import record_of
from service.generating.written import Written
from service.runtime import Runtime

_FAULT: dict[int | str, dict[str, Any]] = {
    "default": {"model": OpenAIErrorBody, "description": "What is wrong, in one sentence."}
}
_EVENTS = {
    "description": "The completion; with `stream` events in the same form, then `[DONE]`.",
    "content": {"text/event-stream": {}},
}
router = APIRouter(tags=["openai"], responses=_FAULT)


async def completions(body: CompletionRequest, request: Request) -> object:
    """Return the model's output for each prompt, as OpenAI's completions do.

    The prompt is what the model reads, and the answer a text of its own, not the prompt's
    continuation. A setting of `/generate` that OpenAI has not is an extension.
    """
    runtime, record = runtime_of(request), record_of(request)
    _require_model(runtime, body.model)
    manifest = runtime.model.manifest
    record.questions = [each for each in body.sources if isinstance(each, str)]
    changes = body.changes(manifest.limits.max_new_tokens)
    asked = requests_of(
        runtime, body.sources, body, changes, field="prompt", known_only=manifest.solves
    )
    limit_s = timeout_s(runtime, body.timeout_ms)
    echoed = [runtime.generator.text_of(each) if body.echo else "" for each in body.sources]
    form = CompletionForm(body, echoed, manifest, record.request_id)
    if body.stream:
        return await streaming.stream(request, asked, limit_s, form)
    with runtime.admission.request():
        outcomes = await while_connected(request, all_written(runtime, asked, limit_s))
    return form.whole([written for written in outcomes if isinstance(written, Written)])


async def models(request: Request) -> ServedModels:
    """Return the served model, the only one."""
    return ServedModels(data=[_model(runtime_of(request))])


async def model(request: Request, model_id: str) -> ServedModel:
    """Return the served model; 404 for any other."""
    _require_model(runtime_of(request), model_id)
    return _model(runtime_of(request))


def _model(runtime: Runtime) -> ServedModel:
    return ServedModel(
        id=runtime.model.manifest.name, created=runtime.created_s, owned_by="cybersolve"
    )


def _require_model(runtime: Runtime, name: str) -> None:
    """Raise `NoSuchModel` unless this model is served."""
    served = runtime.model.manifest.name
    if name != served:
        raise NoSuchModel(f"no model {name!r:.100}; there is {served!r}")


def _add_routes(prefix: str, named: str) -> None:
    """Add the routes below `prefix`; their operation ids begin with `named`."""
    router.post(
        f"{prefix}/completions",
        name=f"{named}completions",
        summary="Write texts, as OpenAI's API has it",
        response_model=Completion,
        responses={200: _EVENTS},
    )(completions)
    router.get(f"{prefix}/models", name=f"{named}models", summary="The served model, in a list")(
        models
    )
    router.get(f"{prefix}/models/{{model_id}}", name=f"{named}model", summary="The served model")(
        model
    )


_add_routes("/v1", "openai_")
_add_routes("/openai/v1", "kserve_")
