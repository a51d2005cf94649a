"""`POST /`, as the hub's inference endpoints take it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from service.api import streaming
from service.api.answering import runtime_of, timeout_s
from service.api.disconnect import while_connected
from service.api.generation import all_written, requests_of
from service.api.hub.form import HubForm
from service.api.hub.schemas import HubError, HubRequest, HubText
from service.api.record import record_of
from service.generating.written import Written

_FAULT: dict[int | str, dict[str, Any]] = {
    "default": {"model": HubError, "description": "What is wrong, in one sentence."}
}
_EVENTS = {
    "description": "A list of answers; several answers to each of several texts are in lists. "
    "With `stream` events: one for each token, the last with the whole text.",
    "content": {"text/event-stream": {}},
}
router = APIRouter(tags=["hub"], responses=_FAULT)


@router.post(
    "/",
    name="hub_generate",
    summary="Write texts, as the hub's endpoints do",
    response_model=list[HubText] | list[list[HubText]],
    responses={200: _EVENTS},
)
async def hub_generate(body: HubRequest, request: Request) -> object:
    """Return the model's output for `inputs`, for the clients of hub endpoints.

    `parameters` are those of text-generation-inference, of the pipelines, and of `/generate`.
    """
    runtime, record = runtime_of(request), record_of(request)
    manifest = runtime.model.manifest
    record.questions = body.sources
    asked = requests_of(
        runtime,
        body.sources,
        body.parameters,
        field="inputs",
        known_only=manifest.solves,
        details=body.wants_tokens,
    )
    limit_s = timeout_s(runtime, body.timeout_ms)
    form = HubForm(body, record.request_id)
    if body.stream:
        return await streaming.stream(request, asked, limit_s, form)
    with runtime.admission.request():
        outcomes = await while_connected(request, all_written(runtime, asked, limit_s))
    return form.whole([written for written in outcomes if isinstance(written, Written)])
