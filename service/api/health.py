"""Routes for liveness, readiness, metrics and information about the model.

Metrics have a router of their own, because they may have a port of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from fastapi import APIRouter, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from service.api.routes import PROBLEMS
from service.api.schemas import Info, Status

_FAULTS: dict[int | str, dict[str, Any]] = {
    500: {**PROBLEMS[500], "description": "An error; quote the `request_id`."}
}
router = APIRouter(tags=["operate"], responses=_FAULTS)
metrics_router = APIRouter(tags=["operate"], responses=_FAULTS)


class Operated(Protocol):
    """The service that these routes report on: one process, or the supervisor of several."""

    def require_ready(self) -> None:
        """Raises `ShuttingDown` or `NotReady`."""
        ...

    async def exposition(self) -> bytes: ...

    def info(self) -> Mapping[str, Any]:
        """Return the fields of `Info`. Raises `NotReady` while they are not known."""
        ...


def operated_by(request: Request) -> Operated:
    operated: Operated = request.app.state.operated
    return operated


def life_router(responsive: Callable[[], bool] = lambda: True) -> APIRouter:
    """Return a router whose `/livez` is 503 while `responsive` returns false.

    `responsive` tells whether the service's event loop runs. The default is for a router that runs
    on that loop: if it answers at all, the loop runs.
    """
    life = APIRouter(tags=["operate"], responses=_FAULTS)

    @life.get("/livez", summary="Is the process alive?")
    async def livez() -> Status:
        """Return 200 while the process responds."""
        if not responsive():
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the event loop has stalled")
        return Status(status="live")

    return life


@router.get(
    "/readyz",
    summary="Does it take questions?",
    responses={503: PROBLEMS[503]},
)
async def readyz(request: Request) -> Status:
    """Return 200 while every engine is warm and accepts questions, else 503."""
    operated_by(request).require_ready()
    return Status(status="ready")


router.get(
    "/health",
    name="health",
    summary="The same, where clients of text-generation-inference look for it",
    responses={503: PROBLEMS[503]},
)(readyz)


@metrics_router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={
        200: {
            "content": {
                "text/plain": {"schema": {"type": "string"}, "example": "cybersolve_engine_up 1.0"}
            }
        }
    },
)
async def metrics(request: Request) -> Response:
    """Return all metrics in Prometheus' text format."""
    exposition = await operated_by(request).exposition()
    return Response(exposition, headers={"content-type": CONTENT_TYPE_LATEST})


@router.get("/info", summary="The model and the limits", responses={401: PROBLEMS[401]})
async def info(request: Request) -> Info:
    """Return the served model, its provenance and the limits of the service."""
    return Info(**operated_by(request).info())
