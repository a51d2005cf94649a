"""A batcher around engines in threads, and a gate that holds a step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

from engine.contracts import Engine, Tokens
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.hosting.thread import ThreadHost
from tests.fakes import Clock, Remembering

LONG_S = 60.0


class Gate:
    """Holds the engine inside a step until a test opens it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self, _: list[Tokens]) -> None:
        self.entered.release()
        assert self._open.wait(LONG_S), "nobody opened the gate"

    async def holds_a_step(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=LONG_S)

    def open(self) -> None:
        self._open.set()


def run(
    scenario: Callable[[Batcher, Remembering], Awaitable[None]],
    *engines: Engine,
    rows: int = 64,
    max_queue: int = 1000,
    cached_answers: int = 0,
    hang_timeout_s: float = 60.0,
    clock: Callable[[], float] | None = None,
    last_step_s: float = LONG_S,
) -> Remembering:
    """Run `scenario` around a started batcher, drain it, and give what its observer saw."""
    observer = Remembering()

    async def main() -> None:
        limits = BatchLimits(rows, tokens=100_000)
        now = clock or Clock()
        batcher = Batcher(
            [ThreadHost(engine, limits, clock=now, last_step_s=last_step_s) for engine in engines],
            limits,
            max_queue=max_queue,
            cached_answers=cached_answers,
            hang_timeout_s=hang_timeout_s,
            restart_delay_s=0.001,
            observer=observer,
            clock=now,
        )
        await batcher.start()
        await scenario(batcher, observer)
        await batcher.drain(LONG_S)

    asyncio.run(main())
    return observer
