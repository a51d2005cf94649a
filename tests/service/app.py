"""The application around a fake engine, in this process and without a socket."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from opentelemetry.trace import TracerProvider

from engine.bundle import MANIFEST, NO_PROMPT, TOKENIZER, Manifest, load_manifest
from engine.contracts import Engine, Tokens
from engine.tokens import TextCodec
from service.app import create_app
from service.batching.policy import BatchLimits
from service.contracts import Host, Report, Started
from service.hosting.thread import ThreadHost
from service.runtime import Model
from service.settings import Settings
from tests.fakes import RightEngine

Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


LIMITS = BatchLimits(rows=64, tokens=100_000)


class Held(RightEngine):
    """Right, but only once a test opens the gate."""

    def __init__(self, bundle: Path, *, rows: int = 64) -> None:
        super().__init__(TextCodec(bundle / TOKENIZER), self._hold, rows=rows)
        self.gate = threading.Event()
        self._entered = threading.Semaphore(0)

    def _hold(self, _: list[Tokens]) -> None:
        self._entered.release()
        assert self.gate.wait(30), "nobody opened the gate"

    def close_gate(self) -> None:
        """Hold the next step, and forget those before; for an engine at rest."""
        self.gate.clear()
        while self._entered.acquire(blocking=False):
            pass

    async def holds_a_step(self) -> None:
        assert await asyncio.to_thread(self._entered.acquire, timeout=30)


class Loading(ThreadHost):
    """Never gets as far as taking questions."""

    async def start(self, told: Callable[[Report], None]) -> Started:
        await asyncio.Event().wait()
        return await super().start(told)


def application(
    bundle: Path,
    *,
    engine: Engine | None = None,
    host: Host | None = None,
    manifest: Manifest | None = None,
    tokenizer: Path | None = None,
    tracer_provider: TracerProvider | None = None,
    **knobs: Any,
) -> FastAPI:
    """Return the application with the manifest and tokenizer of `bundle`, unless others are given.

    It keeps no answers unless `knobs` say so.
    """
    codec = TextCodec(tokenizer or bundle / TOKENIZER)
    engine = engine or RightEngine(codec)
    host = host or ThreadHost(engine, LIMITS, provider="fake")
    model = Model(manifest or load_manifest(bundle), codec, [host])
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


def of_another_task(bundle: Path, folder: Path) -> Path:
    """The same bundle, said to be for other texts than equations."""
    other = folder / "other"
    shutil.copytree(bundle, other)
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest |= {"prompt_format": NO_PROMPT, "target_format": "text"}
    (other / MANIFEST).write_text(json.dumps(manifest))
    return other


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
