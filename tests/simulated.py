"""A batcher, its engines and its callers in one thread, on a clock that only a test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from engine.contracts import Decoding, Prompt
from engine.echo import EchoEngine
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Answered, EngineExit, Order, Report, Started
from service.hosting.decode_loop import DecodeLoop
from tests.fakes import Clock, Remembering

_TURNS = 12  # of the event loop, after which callbacks of callbacks have run


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers follow `clock`; it never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        super().__init__()

    def time(self) -> float:
        return self._clock()

    def settle(self) -> None:
        """Run what is ready, and what that makes ready."""
        for _ in range(_TURNS):
            self.call_soon(self.stop)
            self.run_forever()


class SteppedHost:
    """Implement `service.contracts.Host` around the decode loop; an engine that echoes makes a
    step, of `step_s` on the clock, only when the test says so.
    """

    live_pid = None  # it has no process of its own

    def __init__(self, clock: Clock, limits: BatchLimits, step_s: float) -> None:
        self._clock = clock
        self._limits = limits
        self.step_s = step_s
        self.rows = limits.rows  # of the engine that starts next
        self._orders: list[Order] = []
        self._may_receive = False
        self._ended = asyncio.Event()

    async def start(self, on_report: Callable[[Report], None]) -> Started:
        self._orders = []
        self._ended = asyncio.Event()
        engine = EchoEngine(self._take_time, rows=self.rows)
        self._decoding = DecodeLoop(
            engine, self._limits, receive=self._receive, report=on_report, clock=self._clock
        )
        return Started(self.rows, "fake")

    def order(self, orders: Sequence[Order]) -> None:
        self._orders += orders

    def step(self) -> None:
        """Take the orders, make a step where there is work, and report where that is due."""
        if not self._ended.is_set():
            self._may_receive = True
            self._decoding.run()

    def crash(self) -> None:
        self._ended.set()

    async def ended(self) -> EngineExit:
        await self._ended.wait()
        return EngineExit()

    def kill(self) -> None:
        self._ended.set()

    async def close(self) -> None:
        self._ended.set()

    def _receive(self, wait: bool) -> Sequence[Order] | None:
        if not self._may_receive or (wait and not self._orders):
            return None
        self._may_receive = False
        orders, self._orders = self._orders, []
        return orders

    def _take_time(self, _: object) -> None:
        self._clock.now_s += self.step_s


class Simulation:
    """A started batcher with `engines` of `rows` each, and callers to make and to disconnect."""

    def __init__(
        self,
        *,
        engines: int = 1,
        rows: int = 4,
        step_s: float = 0.1,
        hang_timeout_s: float = 1e9,
        host: type[SteppedHost] = SteppedHost,
    ) -> None:
        self.clock = Clock()
        self.observer = Remembering()
        self.loop = ManualLoop(self.clock)
        asyncio.set_event_loop(self.loop)
        limits = BatchLimits(rows, tokens=100_000)
        self.hosts = [host(self.clock, limits, step_s) for _ in range(engines)]
        self.batcher = Batcher(
            self.hosts,
            limits,
            max_queue=50,
            hang_timeout_s=hang_timeout_s,
            restart_delay_s=0.1,
            observer=self.observer,
            clock=self.clock,
        )
        self.loop.run_until_complete(self.batcher.start())
        self.callers: list[asyncio.Task[Answered]] = []
        self._asked = 0

    def ask(
        self, length: int, timeout_s: float, *, wait: bool = False, beams: int = 1
    ) -> asyncio.Task[Answered]:
        """Submit a prompt of its own, which takes so many steps."""
        self._asked += 1
        decoding = Decoding(num_beams=beams)
        prompt = Prompt((self._asked, *range(1, length)), decoding=decoding)
        caller = self.loop.create_task(self.batcher.submit(prompt, timeout_s, wait=wait))
        self.callers.append(caller)
        self.loop.settle()
        return caller

    def disconnect(self, caller: asyncio.Task[Answered]) -> None:
        caller.cancel()
        self.loop.settle()

    def step(self, times: int = 1) -> None:
        """Every engine makes so many steps, one after the other."""
        for _ in range(times):
            for host in self.hosts:
                host.step()
            self.loop.settle()

    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds
        self.loop.settle()

    @property
    def waiting(self) -> list[asyncio.Task[Answered]]:
        return [caller for caller in self.callers if not caller.done()]

    def close(self) -> None:
        """End everything; accepted requests that are left are answered with `ShuttingDown`."""
        self._run(self.batcher.drain(0.0))
        for caller in self.callers:
            if not caller.cancelled():
                caller.exception()
        self.loop.close()
        asyncio.set_event_loop(None)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        while not task.done():
            self.clock.now_s += 0.01
            self.loop.settle()
        task.result()
