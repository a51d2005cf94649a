"""The HTTP application: routes around a runtime, and the lifespan of both."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from service.api import generate, health, problems, routes
from service.api.middleware import BodyLimit, RequestScope
from service.errors import EngineRefused
from service.runtime import Model, Runtime
from service.settings import Settings

_LOG = logging.getLogger(__name__)


def create_app(settings: Settings, model: Model) -> FastAPI:
    """The application around a loaded model; its engines start once it listens."""

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
        lifespan=lifespan,
    )
    runtime = app.state.runtime = Runtime(settings, model)
    if model.manifest.solves:
        app.include_router(routes.router)
    app.include_router(generate.router)
    app.include_router(health.router)
    problems.install(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    paths = {*app.openapi()["paths"], app.docs_url, app.redoc_url, app.openapi_url}
    app.add_middleware(RequestScope, metrics=runtime.metrics, paths=paths)
    return app


def _report_failure(starting: asyncio.Task[None]) -> None:
    """An engine refused says why in one line, where the process ends; the rest are bugs."""
    if starting.cancelled() or isinstance(error := starting.exception(), EngineRefused):
        return
    if error is not None:
        _LOG.critical("the start failed; the service stays unready", exc_info=error)
