"""The jobs that a batcher queues, refuses, and discards when their callers have left."""

from __future__ import annotations

import asyncio

import pytest

from engine.contracts import Decoding, Prompt, Tokens
from engine.echo import EchoEngine
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.errors import (
    DeadlineExceeded,
    InvalidSetting,
    Overloaded,
)
from service.hosting.thread import ThreadHost
from tests.fakes import Clock, Remembering
from tests.service.batcher import LONG_S, Gate, run


def test_a_full_queue_refuses_before_any_work() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher, observer: Remembering) -> None:
        running = asyncio.create_task(batcher.submit(Prompt((0,)), LONG_S))
        await gate.holds_a_step()
        waiting = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refusal:
            await batcher.submit(Prompt((3,)), LONG_S)
        assert refusal.value.retry_after_s >= 1
        assert batcher.admission.overload() is not None
        assert observer.depth == 2
        gate.open()
        await asyncio.gather(running, *waiting)

    observer = run(scenario, EchoEngine(gate, rows=1), rows=1, max_queue=2)
    assert observer.refusals == ["queue_full"] * 2


def beams(number: int, count: int) -> Prompt:
    return Prompt((number,), decoding=Decoding(num_beams=count))


def test_beams_count_as_rows() -> None:
    """In the queue, in the engine, and in what it has room for."""
    gate = Gate()

    async def scenario(batcher: Batcher, observer: Remembering) -> None:
        running = asyncio.create_task(batcher.submit(beams(0, 4), LONG_S))
        await gate.holds_a_step()
        waiting = [asyncio.create_task(batcher.submit(beams(i, 4), LONG_S)) for i in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):  # of eight rows that may wait, eight do
            await batcher.submit(Prompt((3,)), LONG_S)
        gate.open()
        answers = await asyncio.gather(running, *waiting)
        assert [answer.hypothesis.tokens for answer in answers] == [[0], [1], [2]]
        assert observer.joins == [1, 1, 1]  # the engine has rows for one at a time

    observer = run(scenario, EchoEngine(gate, rows=4), rows=4, max_queue=8)
    assert observer.steps == [4, 4, 4]


def test_more_beams_than_an_engine_has_rows_are_refused() -> None:
    async def scenario(batcher: Batcher, _: Remembering) -> None:
        with pytest.raises(InvalidSetting, match=r"5 beams or samples.*at most 4 rows"):
            await batcher.submit(beams(0, 5), LONG_S)
        assert (await batcher.submit(beams(1, 4), LONG_S)).hypothesis.tokens == [1]

    run(scenario, EchoEngine(rows=4), rows=4)


def test_the_wait_is_estimated_by_rows() -> None:
    """A step of two rows that takes two seconds is a second of a row."""
    clock = Clock()

    def two_seconds(_: object) -> None:
        clock.now_s += 2.0

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        await batcher.submit(beams(0, 2), LONG_S)
        assert batcher.answer_s() == pytest.approx(1.0, rel=0.1)

    run(scenario, EchoEngine(two_seconds, rows=4), rows=4, clock=clock)


def test_a_disconnected_caller_costs_nothing_and_frees_its_slot() -> None:
    gate = Gate()
    engine = EchoEngine(gate, rows=1)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        running = asyncio.create_task(batcher.submit(Prompt((0,)), LONG_S))
        await gate.holds_a_step()
        leaving = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        staying = asyncio.create_task(batcher.submit(Prompt((2,)), LONG_S))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(running, staying)

    observer = run(scenario, engine, rows=1, max_queue=1)
    assert engine.joins == [[(0,)], [(2,)]]
    assert observer.left == ["left"]
    assert observer.refusals == []


def test_a_deadline_passes_while_waiting() -> None:
    gate = Gate()
    engine = EchoEngine(gate)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        running = asyncio.create_task(batcher.submit(Prompt((0,)), LONG_S))
        await gate.holds_a_step()
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(Prompt((1,)), 0.001)
        gate.open()
        await running

    observer = run(scenario, engine)
    assert engine.joins == [[(0,)]]
    assert observer.left == ["deadline"]


def test_a_disconnect_while_decoding_frees_the_row_at_the_next_step() -> None:
    gate = Gate()
    engine = EchoEngine(gate, rows=1)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        leaving = asyncio.create_task(batcher.submit(Prompt((0,) * 1_000_000), LONG_S))
        await gate.holds_a_step()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        gate.open()
        assert (await batcher.submit(Prompt((1,)), LONG_S)).hypothesis.tokens == [1]

    observer = run(scenario, engine, rows=1)
    assert observer.left == ["left"]
    assert len(observer.steps) < 10


def test_a_disconnect_during_the_last_step_is_counted() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        leaving = asyncio.create_task(batcher.submit(Prompt((0,)), LONG_S))
        await gate.holds_a_step()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        gate.open()
        assert (await batcher.submit(Prompt((1,)), LONG_S)).hypothesis.tokens == [1]

    assert run(scenario, EchoEngine(gate)).left == ["left"]


def test_a_queue_is_bounded_by_tokens_too() -> None:
    gate = Gate()

    async def main() -> None:
        observer, limits = Remembering(), BatchLimits(1, 1000)
        host = ThreadHost(EchoEngine(gate, rows=1), limits)
        batcher = Batcher([host], limits, max_queue=9, max_queue_tokens=10, observer=observer)
        await batcher.start()
        running = asyncio.create_task(batcher.submit(Prompt((0,)), LONG_S))
        await gate.holds_a_step()
        waiting = [asyncio.create_task(batcher.submit(Prompt((i,) * 4), LONG_S)) for i in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await batcher.submit(Prompt((3,) * 4), LONG_S)
        small = asyncio.create_task(batcher.submit(Prompt((4,) * 2), LONG_S))
        gate.open()
        await asyncio.gather(running, *waiting, small)
        assert observer.refusals == ["queue_full"]
        await batcher.drain(LONG_S)

    asyncio.run(main())


def test_requests_that_cannot_meet_their_deadline_are_rejected() -> None:
    """Ten questions of a second each wait: one that has five seconds is told to come later."""
    clock = Clock()

    def take_a_second(_: list[Tokens]) -> None:
        clock.now_s += 1.0

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        await batcher.submit(Prompt((99,)), LONG_S)
        asked = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in range(10)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="deadline") as refusal:
            await batcher.submit(Prompt((11,)), 5.0)
        assert refusal.value.retry_after_s == 10
        await asyncio.gather(*asked)

    assert run(scenario, EchoEngine(take_a_second, rows=1), rows=1, clock=clock).refusals == [
        "deadline"
    ]


def test_what_is_under_way_counts_too_and_so_does_the_question_itself() -> None:
    """Each takes a second: one decodes, four wait, and a sixth would be answered after six."""
    clock, gate = Clock(), Gate()

    def take_a_second(prompts: list[Tokens]) -> None:
        clock.now_s += 1.0
        if 99 not in prompts[0]:
            gate(prompts)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        await batcher.submit(Prompt((99,)), LONG_S)
        asked = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in range(5)]
        await gate.holds_a_step()
        with pytest.raises(Overloaded, match="deadline"):
            await batcher.submit(Prompt((11,)), 5.0)
        last = asyncio.create_task(batcher.submit(Prompt((12,)), 8.5))
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(last, *asked)

    assert run(scenario, EchoEngine(take_a_second, rows=1), rows=1, clock=clock).refusals == [
        "deadline"
    ]
