"""Life, readiness, metrics and what is served; metrics apart, as their port may be."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.schemas import Info, Problem
from service.runtime import Runtime

router = APIRouter(tags=["operate"])
metrics_router = APIRouter(tags=["operate"])


@router.get("/livez")
async def livez() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@router.get("/readyz", responses={503: {"model": Problem}})
async def readyz(request: Request) -> dict[str, str]:
    """Every engine is warm and takes questions; 503 otherwise."""
    _runtime(request).require_ready()
    return {"status": "ready"}


@metrics_router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    exposition = _runtime(request).metrics.exposition()
    return Response(exposition, headers={"content-type": CONTENT_TYPE_LATEST})


@router.get("/info")
async def info(request: Request) -> Info:
    """The model served, where it comes from, and the limits in force."""
    runtime = _runtime(request)
    manifest, settings = runtime.model.manifest, runtime.settings
    return Info(
        name=manifest.name,
        version=manifest.version,
        solves=manifest.solves,
        precision=manifest.precision,
        provider=runtime.batcher.provider,
        parameters=manifest.architecture.parameters,
        max_source_tokens=manifest.limits.max_source_tokens,
        max_new_tokens=manifest.limits.max_new_tokens,
        max_batch_questions=settings.max_batch_questions,
        max_body_bytes=settings.max_body_bytes,
        default_timeout_ms=1000 * settings.default_timeout_s,
        provenance=dict(manifest.provenance),
    )


def _runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime
