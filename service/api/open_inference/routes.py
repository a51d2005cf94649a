"""The routes of the Open Inference Protocol."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from importlib.metadata import version as version_of
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from service.api.answering import runtime_of
from service.api.disconnect import while_connected
from service.api.open_inference import frame
from service.api.open_inference.errors import NoSuchModel
from service.api.open_inference.schemas import (
    InferenceError,
    InferResponse,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.api.open_inference.tasks import slowest, task_of
from service.api.record import record_of
from service.api.schemas import TimingMs

_FAULT: dict[int | str, dict[str, Any]] = {
    "default": {"model": InferenceError, "description": "What is wrong, in one sentence."}
}
_TENSORS = {
    "description": "The outputs; where any is binary, their data follows the JSON.",
    "headers": {frame.HEADER: frame.HEADER_SCHEMA},
    "content": {frame.BINARY: frame.BINARY_SCHEMA},
}
router = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=_FAULT)


@router.get("", summary="Server metadata")
async def server_metadata() -> ServerMetadata:
    """Return the server's name and version, and the protocol extensions that it supports."""
    return ServerMetadata(
        name="cybersolve", version=version_of("cybersolve"), extensions=["binary_tensor_data"]
    )


@router.get("/health/live", summary="Is the server alive?")
async def server_live() -> ServerLive:
    """Return 200 while the process responds."""
    return ServerLive(live=True)


@router.get("/health/ready", summary="Does it take questions?")
async def server_ready(request: Request) -> ServerReady:
    """The model is warm and its worker takes questions; 503 otherwise."""
    runtime_of(request).require_ready()
    return ServerReady(ready=True)


async def model_metadata(request: Request) -> ModelMetadata:
    """Return the model's tensors."""
    manifest = runtime_of(request).model.manifest
    inputs, outputs = task_of(manifest).metadata()
    return ModelMetadata(
        name=manifest.name,
        versions=[manifest.version],
        platform="onnxruntime_onnxv1",
        inputs=inputs,
        outputs=outputs,
    )


async def model_ready(request: Request) -> ModelReady:
    """The model is warm and its worker takes questions; 503 otherwise."""
    runtime = runtime_of(request)
    runtime.require_ready()
    return ModelReady(name=runtime.model.manifest.name, ready=True)


async def infer(request: Request) -> Response:
    """Answer the questions of a BYTES tensor `question`, of shape `[n]` or `[n, 1]`.

    A question that is not understood has the verdict `not_understood`, one that is too long for
    the model `too_long`, and both have a `reason`; any other error fails the whole request. Tensors
    may be binary (extension `binary_tensor_data`). For a model that does not solve equations, the
    tensor is `text`.

    The headers `x-queue-time` and `x-inference-time` give the queueing and inference time of the
    slowest question, and `x-total-time` the time of all questions, in milliseconds.
    """
    runtime = runtime_of(request)
    manifest = runtime.model.manifest
    task = task_of(manifest)
    asked = frame.read(await request.body(), request.headers)
    task.require(asked.head)
    wanted = task.wanted(asked.head)
    record = record_of(request)
    record.questions = asked.texts
    started_s = time.perf_counter()
    with runtime.admission.request():
        work = task.run(runtime, asked.head.parameters, asked.texts)
        outcomes = await while_connected(request, work)
    total_s = time.perf_counter() - started_s
    record.timings = slowest(outcomes)
    head = {"model_name": manifest.name, "model_version": manifest.version}
    if asked.head.id is not None:
        head["id"] = asked.head.id
    tensors = [
        (task.tensor(name, asked.shape, outcomes), binary) for name, binary in wanted.items()
    ]
    headers = TimingMs.of(record.timings, total_s).headers() if record.timings else {}
    return frame.respond(head, tensors, headers)


async def _require_model(request: Request, model_name: str) -> None:
    """Raise `NoSuchModel` unless this model is served."""
    served = runtime_of(request).model.manifest.name
    if model_name != served:
        raise NoSuchModel(f"no model {model_name!r}; there is {served!r}")


async def _require_version(request: Request, model_name: str, model_version: str) -> None:
    """Raise `NoSuchModel` unless this version is served."""
    await _require_model(request, model_name)
    served = runtime_of(request).model.manifest.version
    if model_version != served:
        raise NoSuchModel(f"no version {model_version!r} of {model_name!r}; there is {served!r}")


def _add_model_routes(path: str, named: str, require: Callable[..., Awaitable[None]]) -> None:
    """Add the routes of a model or of one version; their operation ids begin with `named`."""
    needed = [Depends(require)]
    router.get(path, name=f"{named}_metadata", summary="Model metadata", dependencies=needed)(
        model_metadata
    )
    router.get(
        path + "/ready",
        name=f"{named}_ready",
        summary="Does the model take questions?",
        dependencies=needed,
    )(model_ready)
    router.post(
        path + "/infer",
        name=f"{named}_infer",
        summary="Answer a tensor of questions",
        response_model=InferResponse,
        responses={200: _TENSORS},
        dependencies=needed,
    )(infer)


_add_model_routes("/models/{model_name}", "model", _require_model)
_add_model_routes(
    "/models/{model_name}/versions/{model_version}", "model_version", _require_version
)
