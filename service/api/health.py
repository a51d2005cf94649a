"""Life, readiness, metrics and what is served; metrics apart, as their port may be."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.answering import runtime_of
from service.api.schemas import Info, Problem

router = APIRouter(tags=["operate"])
metrics_router = APIRouter(tags=["operate"])


def life_router(turns: Callable[[], bool] = lambda: True) -> APIRouter:
    """Return a router whose `/livez` is 503 once `turns` says that the event loop has stalled.

    For the loop that answers itself there is nothing to say: it runs.
    """
    life = APIRouter(tags=["operate"])

    @life.get("/livez", summary="Is the process alive?")
    async def livez() -> dict[str, str]:
        """The process answers."""
        if not turns():
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the event loop has stalled")
        return {"status": "live"}

    return life


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
