"""Host an engine in a thread of this process, for tests and benchmarks."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from engine.contracts import Engine
from service.batching.policy import BatchLimits
from service.contracts import EngineExit, Order, Report, Started
from service.errors import EngineNotStarted
from service.hosting.decode_loop import DecodeLoop

_LOG = logging.getLogger(__name__)
_LAST_STEP_S = 5.0


class ThreadHost:
    """Implement `service.contracts.Host` with a thread.

    A thread cannot be killed. One that hangs is abandoned, and its engine does not start again
    before the thread has ended.
    """

    def __init__(
        self,
        engine: Engine,
        limits: BatchLimits,
        *,
        provider: str = "CPUExecutionProvider",
        clock: Callable[[], float] = time.monotonic,
        last_step_s: float = _LAST_STEP_S,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._provider = provider
        self._clock = clock
        self._last_step_s = last_step_s
        self._life: _Life | None = None

    @property
    def live_pid(self) -> None:
        """Return None: the engine has no process of its own."""
        return

    async def start(self, on_report: Callable[[Report], None]) -> Started:
        if self._life is not None and self._life.thread.is_alive():
            raise EngineNotStarted("the thread of the one before still hangs")
        self._engine.clear()
        self._life = _Life(self._engine, self._limits, on_report, self._clock)
        self._life.thread.start()
        return Started(self._engine.rows, self._provider)

    def order(self, orders: Sequence[Order]) -> None:
        if self._life is not None:
            self._life.inbox.put(orders)

    async def ended(self) -> EngineExit:
        if self._life is not None:
            await self._life.over.wait()
        return EngineExit()

    def kill(self) -> None:
        if self._life is not None:
            self._life.end()

    async def close(self) -> None:
        if self._life is not None:
            self._life.inbox.put(None)
            await asyncio.to_thread(self._life.thread.join, self._last_step_s)


class _Life:
    """One run of the engine, from its start to its end."""

    def __init__(
        self,
        engine: Engine,
        limits: BatchLimits,
        on_report: Callable[[Report], None],
        clock: Callable[[], float],
    ) -> None:
        self.inbox: queue.SimpleQueue[Sequence[Order] | None] = queue.SimpleQueue()
        self.over = asyncio.Event()
        self._on_report = on_report
        self._loop = asyncio.get_running_loop()
        self._decode_loop = DecodeLoop(
            engine, limits, receive=self._receive, report=self._report, clock=clock
        )
        # A daemon thread, so that a hung engine cannot keep the process alive.
        self.thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def end(self) -> None:
        """End the run and call `on_report` no more. Call this in the loop."""
        self.inbox.put(None)
        self.over.set()

    def _run(self) -> None:
        try:
            self._decode_loop.run()
        except BaseException:
            _LOG.critical("an engine's thread died: this is a bug", exc_info=True)
        self._in_loop(self.end)

    def _receive(self, wait: bool) -> list[Order] | None:
        orders: list[Order] = []
        with suppress(queue.Empty):
            while True:
                received = self.inbox.get(block=wait and not orders)
                if received is None:
                    return None
                orders += received
        return orders

    def _report(self, report: Report) -> None:
        self._in_loop(lambda: None if self.over.is_set() else self._on_report(report))

    def _in_loop(self, call: Callable[[], None]) -> None:
        # A closed loop raises; no caller waits there any more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)
