"""Life, readiness, metrics and what is served; metrics apart, as their port may be."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.answering import runtime_of
from service.api.schemas import Info, Problem
from service.engine.kernels import NONE, level
from service.engine.sessions import CUDA

router = APIRouter(tags=["operate"])
metrics_router = APIRouter(tags=["operate"])


@router.get("/livez", summary="Is the process alive?")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get(
    "/readyz",
    summary="Does it take questions?",
    responses={503: {"model": Problem, "description": "Not ready, or shutting down."}},
)
async def readyz(request: Request) -> dict[str, str]:
    """Every engine is warm and takes questions; 503 otherwise."""
    runtime_of(request).require_ready()
    return {"status": "ready"}


@metrics_router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": "cybersolve_engine_up 1.0"}}}},
)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    exposition = runtime_of(request).metrics.exposition()
    return Response(exposition, headers={"content-type": CONTENT_TYPE_LATEST})


@router.get("/info", summary="The model and the limits")
async def info(request: Request) -> Info:
    """The model served, where it comes from, and the limits in force."""
    runtime = runtime_of(request)
    manifest, settings = runtime.model.manifest, runtime.settings
    on_gpu = runtime.batcher.provider == CUDA
    return Info(
        name=manifest.name,
        version=manifest.version,
        solves=manifest.solves,
        precision=manifest.precision,
        provider=runtime.batcher.provider,
        kernels=NONE if on_gpu else level(settings.kernels),
        parameters=manifest.architecture.parameters,
        max_source_tokens=manifest.limits.max_source_tokens,
        max_new_tokens=manifest.limits.max_new_tokens,
        max_batch_questions=settings.max_batch_questions,
        max_body_bytes=settings.max_body_bytes,
        default_timeout_ms=1000 * settings.default_timeout_s,
        provenance=dict(manifest.provenance),
    )
