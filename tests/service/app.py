"""The application around a fake engine, in this process and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from opentelemetry.trace import TracerProvider

from service.app import create_app
from service.batching.policy import BatchLimits
from service.contracts import Engine, Host
from service.engine.bundle import TOKENIZER, load_manifest
from service.engine.tokens import TextCodec
from service.hosting.thread import ThreadHost
from service.runtime import Model
from service.settings import Settings
from tests.fakes import RightEngine

Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


LIMITS = BatchLimits(rows=64, padded_tokens=100_000)


def application(
    bundle: Path,
    *,
    engine: Engine | None = None,
    host: Host | None = None,
    tracer_provider: TracerProvider | None = None,
    **knobs: Any,
) -> FastAPI:
    """It keeps no answers unless `knobs` say so."""
    codec = TextCodec(bundle / TOKENIZER)
    engine = engine or RightEngine(codec)
    host = host or ThreadHost(engine, LIMITS, provider="fake")
    model = Model(load_manifest(bundle), codec, [host])
    knobs = {"cached_answers": 0, "max_batch_rows": engine.rows, **knobs}
    return create_app(replace(Settings(), **knobs), model, tracer_provider)


def serve(
    bundle: Path,
    scenario: Scenario,
    *,
    warm: bool = True,
    **parts: Any,
) -> None:
    """Run `scenario` against the application, in this process and without a socket."""
    app = application(bundle, **parts)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            if warm:
                await becomes_ready(app)
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await scenario(client)

    asyncio.run(main())


async def becomes_ready(app: FastAPI) -> None:
    async with asyncio.timeout(30):
        while not app.state.runtime.ready:
            await asyncio.sleep(0.001)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body
