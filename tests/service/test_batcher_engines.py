"""Engines that raise, crash, hang or are idle, and the jobs that the batcher gave them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

import pytest

from engine.contracts import Answer, Prompt, Tokens
from engine.echo import EchoEngine, hypothesis
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Answered, Report, Started
from service.errors import (
    EngineFailed,
    EngineRefused,
    NotReady,
)
from service.hosting.thread import ThreadHost
from tests.fakes import Clock, Remembering
from tests.service.batcher import LONG_S, Gate, run


def test_an_exception_answers_the_rows_under_way_and_nothing_else() -> None:
    def fail_on_thirteen(sources: list[Tokens]) -> None:
        if (13,) in sources:
            raise RuntimeError("boom")

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        assert (await batcher.submit(Prompt((1,)), LONG_S)).hypothesis.tokens == [1]
        with pytest.raises(EngineFailed):
            await batcher.submit(Prompt((13,)), LONG_S)
        assert batcher.alive
        assert (await batcher.submit(Prompt((2,)), LONG_S)).hypothesis.tokens == [2]

    run(scenario, EchoEngine(fail_on_thirteen))


def test_an_engine_that_gives_rows_it_does_not_have_fails_those_under_way() -> None:
    class Odd(EchoEngine):
        def step(self) -> dict[Hashable, Answer]:
            return {"nobody": Answer((hypothesis([1]),))}

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        with pytest.raises(EngineFailed):
            await batcher.submit(Prompt((1,)), LONG_S)

    run(scenario, Odd())


def test_a_dead_host_fails_its_rows_and_starts_again() -> None:
    """A bug outside the engine's step: the host that asks for its rows gets an exception."""
    gate = Gate()

    class Odd(EchoEngine):
        broken = False

        def clear(self) -> None:
            self.broken = False
            super().clear()

        @property
        def active(self) -> int:
            if self.broken:
                raise SystemExit("a bug")
            return super().active

    engine = Odd(gate, rows=1)

    async def scenario(batcher: Batcher, observer: Remembering) -> None:
        tasks = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in range(3)]
        await gate.holds_a_step()
        engine.broken = True
        gate.open()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert EngineFailed in {type(result) for result in results}
        assert {type(result) for result in results} <= {EngineFailed, Answered}
        while not batcher.alive:
            await asyncio.sleep(0.001)
        assert (await batcher.submit(Prompt((7,)), LONG_S)).hypothesis.tokens == [7]
        assert observer.ends == ["crashed"]

    run(scenario, engine, rows=1)


def test_a_hung_engine_is_left_and_its_questions_answered() -> None:
    gate, clock = Gate(), Clock()

    async def main() -> None:
        observer, limits = Remembering(), BatchLimits(8, 100)
        batcher = Batcher(
            [ThreadHost(EchoEngine(gate, rows=8), limits, clock=clock)],
            limits,
            max_queue=9,
            hang_timeout_s=0.3,  # more than a busy machine takes for a step
            restart_delay_s=0.001,
            observer=observer,
            clock=clock,
        )
        await batcher.start()
        hanging = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await gate.holds_a_step()
        with pytest.raises(EngineFailed):
            await hanging
        assert not batcher.alive
        assert observer.ends == ["hung"]
        with pytest.raises(NotReady):
            await batcher.submit(Prompt((2,)), LONG_S)
        gate.open()  # a thread cannot be killed: it has to come back by itself
        while not batcher.alive:
            await asyncio.sleep(0.001)
        assert (await batcher.submit(Prompt((3,)), LONG_S)).hypothesis.tokens == [3]
        await batcher.drain(LONG_S)

    asyncio.run(main())


def test_a_hung_engine_is_detected_after_all_callers_disconnected() -> None:
    """Deadlines are often shorter than the silence that proves a hang."""
    gate = Gate()

    async def scenario(batcher: Batcher, observer: Remembering) -> None:
        asked = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await gate.holds_a_step()
        asked.cancel()
        async with asyncio.timeout(LONG_S):
            while batcher.alive:
                await asyncio.sleep(0.001)
        assert observer.ends == ["hung"]
        gate.open()

    run(scenario, EchoEngine(gate, rows=8), hang_timeout_s=0.05)


def test_an_engine_refused_ends_the_start_of_the_others() -> None:
    """One that was still starting counts as failed once it is closed, and must not start again."""

    class Refusing(ThreadHost):
        async def start(self, on_report: Callable[[Report], None]) -> Started:
            raise EngineRefused("no such provider")

    class Starting(ThreadHost):
        def __init__(self, limits: BatchLimits) -> None:
            super().__init__(EchoEngine(), limits)
            self.starts = 0
            self.closed = asyncio.Event()

        async def start(self, on_report: Callable[[Report], None]) -> Started:
            self.starts += 1
            await self.closed.wait()
            raise EngineFailed

        async def close(self) -> None:
            self.closed.set()
            await asyncio.sleep(0.05)  # as long as a process takes to end: many restart delays

    async def main() -> None:
        limits = BatchLimits(8, 100)
        other = Starting(limits)
        batcher = Batcher(
            [other, Refusing(EchoEngine(), limits)],
            limits,
            max_queue=9,
            restart_delay_s=0.001,
            observer=Remembering(),
        )
        with pytest.raises(EngineRefused):
            await batcher.start()
        await batcher.drain(LONG_S)
        assert other.starts == 1

    asyncio.run(main())
