"""Create the HTTP application: its routes, its runtime and the lifespan of both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version

from fastapi import FastAPI
from opentelemetry.trace import TracerProvider

from service.api import generate, health, middleware, openapi, page, problems, routes
from service.api.hub import routes as hub
from service.api.open_inference import routes as open_inference
from service.api.openai import routes as openai
from service.errors import EngineRefused
from service.metrics import Metrics
from service.peers import Peers
from service.phases import Phases
from service.runtime import Model, Runtime
from service.settings import Settings
from service.tracing import telemetry

_LOG = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    model: Model,
    tracer_provider: TracerProvider | None = None,
    peers: Peers | None = None,
) -> FastAPI:
    """Return the application for a loaded model; its engines start once it listens.

    Raises `KeysError` for an invalid file of API keys.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        starting = asyncio.create_task(runtime.start(), name="start")
        starting.add_done_callback(_report_failure)
        yield
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await runtime.stop()

    app = FastAPI(
        title="CyberSolve",
        version=version("cybersolve"),
        description="Solves equations written as text; every answer is verified exactly.",
        openapi_tags=openapi.TAGS,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would go where the Host header says
        telemetry=telemetry(tracer_provider),
        generate_unique_id_function=lambda route: route.name,  # names of calls in generated clients
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
    )
    runtime = Runtime(settings, model, Phases(tracer_provider), peers)
    app.state.runtime = app.state.operated = runtime
    if model.manifest.solves:
        app.include_router(routes.router)
    app.include_router(generate.router)
    app.include_router(openai.router)
    app.include_router(hub.router)
    app.include_router(health.life_router())
    app.include_router(health.router)
    app.include_router(open_inference.router)
    app.include_router(page.router())
    if settings.metrics_port is None:
        app.include_router(health.metrics_router)
    openapi.install(app, settings)
    problems.install(app)
    direct = routes.DIRECT if model.manifest.solves else {}
    middleware.install(app, settings, runtime.metrics, runtime.admission.rejection, direct)
    return app


def create_metrics_app(
    operated: health.Operated,
    settings: Settings,
    metrics: Metrics,
    responsive: Callable[[], bool] = lambda: True,
) -> FastAPI:
    """Return an app with metrics and health alone, for a port that only operators can reach.

    It requires no key, and counts its own requests in `metrics`. It may run in another thread than
    the service; `responsive` returns whether the service's event loop still runs.
    """
    app = FastAPI(openapi_url=None, redirect_slashes=False, telemetry={"tracing": False})
    app.state.operated = operated
    app.include_router(health.life_router(responsive))
    app.include_router(health.router)
    app.include_router(health.metrics_router)
    problems.install(app)
    settings = replace(settings, api_keys_file=None, cors_origins=())
    middleware.install(app, settings, metrics, rejection=lambda: None, direct={})
    return app


def _report_failure(starting: asyncio.Task[None]) -> None:
    """Log an unexpected failure. The process reports `EngineRefused` in one line as it exits."""
    if starting.cancelled() or isinstance(error := starting.exception(), EngineRefused):
        return
    if error is not None:
        _LOG.critical("the start failed; the service stays unready", exc_info=error)
