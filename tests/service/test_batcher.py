"""The batcher's answers, with an engine that echoes and a clock that stands still."""

from __future__ import annotations

import asyncio

import pytest

from engine.contracts import Progress, Prompt, Tokens
from engine.echo import EchoEngine
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Answered
from service.errors import (
    DeadlineExceeded,
    EngineFailed,
    NotReady,
    ShuttingDown,
)
from service.hosting.thread import ThreadHost
from tests.fakes import Clock, Remembering
from tests.service.batcher import LONG_S, Gate, run


@pytest.mark.parametrize("engines", [1, 3])
def test_each_of_a_thousand_gets_its_own_answer(engines: int) -> None:
    async def scenario(batcher: Batcher, _: Remembering) -> None:
        sources = [(i, i + 1, *range(i % 7)) for i in range(1000)]
        answers = await asyncio.gather(*(batcher.submit(Prompt(s), LONG_S) for s in sources))
        assert [answer.hypothesis.tokens for answer in answers] == [list(s) for s in sources]

    observer = run(scenario, *(EchoEngine() for _ in range(engines)))
    assert sum(observer.joins) == observer.answers == 1000
    assert max(observer.steps) > 1
    assert observer.depth == 0


def test_waiting_jobs_join_late_and_together() -> None:
    gate = Gate()
    engine = EchoEngine(gate)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        first = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await gate.holds_a_step()
        others = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in range(2, 12)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(first, *others)

    run(scenario, engine)
    assert [len(joining) for joining in engine.joins] == [1, 10]


def test_the_short_overtake_the_long_in_the_same_engine() -> None:
    """A row that is finished leaves at once, and one that waits takes its place."""
    order: list[int] = []

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        async def ask(length: int) -> None:
            await batcher.submit(Prompt((7,) * length), LONG_S)
            order.append(length)

        await asyncio.gather(ask(50_000), *(ask(length) for length in (1, 2, 3, 4, 5)))

    observer = run(scenario, EchoEngine(rows=2), rows=2)
    assert order[-1] == 50_000
    assert set(order) == {1, 2, 3, 4, 5, 50_000}
    assert max(observer.steps) == 2


def test_waits_and_inference_are_timed_by_the_clock() -> None:
    clock = Clock()
    gate = Gate()

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        first = asyncio.create_task(batcher.submit(Prompt((0,)), LONG_S))
        await gate.holds_a_step()
        second = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await asyncio.sleep(0)
        clock.now_s += 5.0
        gate.open()
        assert (await first).timings.queue_s == 0.0
        assert (await first).timings.inference_s == 5.0
        assert (await second).timings.queue_s == 5.0

    run(scenario, EchoEngine(gate), clock=clock)


def test_drain_finishes_what_was_accepted_and_takes_no_more() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        accepted = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in range(5)]
        await gate.holds_a_step()
        draining = asyncio.create_task(batcher.drain(LONG_S))
        await asyncio.sleep(0)
        assert not batcher.alive
        with pytest.raises(ShuttingDown):
            await batcher.submit(Prompt((9,)), LONG_S)
        gate.open()
        await draining
        assert [(await task).hypothesis.tokens for task in accepted] == [[i] for i in range(5)]

    run(scenario, EchoEngine(gate, rows=2), rows=2)


def test_drain_is_bounded_and_answers_the_rest() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        accepted = [asyncio.create_task(batcher.submit(Prompt((i,)), LONG_S)) for i in range(3)]
        await gate.holds_a_step()
        await batcher.drain(0.001)
        gate.open()
        results = await asyncio.gather(*accepted, return_exceptions=True)
        assert [type(result) for result in results] == [ShuttingDown] * 3

    run(scenario, EchoEngine(gate, rows=1), rows=1, last_step_s=0.001)


def test_nothing_is_taken_before_the_start() -> None:
    async def main() -> None:
        observer, limits = Remembering(), BatchLimits(1, 10)
        host = ThreadHost(EchoEngine(), limits)
        batcher = Batcher([host], limits, max_queue=1, observer=observer)
        with pytest.raises(NotReady):
            await batcher.submit(Prompt((1,)), LONG_S)
        assert observer.refusals == ["not_ready"]

    asyncio.run(main())


def test_equal_questions_under_way_are_computed_once() -> None:
    gate = Gate()
    engine = EchoEngine(gate)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        asked = [asyncio.create_task(batcher.submit(Prompt((1, 2)), LONG_S)) for _ in range(5)]
        await gate.holds_a_step()
        asked += [asyncio.create_task(batcher.submit(Prompt((1, 2)), LONG_S)) for _ in range(5)]
        other = asyncio.create_task(batcher.submit(Prompt((1, 2), (3,)), LONG_S))
        await asyncio.sleep(0)
        asked[0].cancel()  # one who leaves does not take the answer from the others
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(Prompt((1, 2)), 0.001)
        gate.open()
        answers = await asyncio.gather(*asked[1:], other)
        assert [answer.hypothesis.tokens for answer in answers] == [[1, 2]] * 10

    observer = run(scenario, engine)
    assert engine.joins == [[(1, 2)], [(1, 2)]]  # the other has a beginning of its own
    assert observer.reuses == ["shared"] * 10


def test_a_question_that_all_have_left_is_asked_anew() -> None:
    gate = Gate()
    engine = EchoEngine(gate)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        left = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await gate.holds_a_step()
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        again = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await asyncio.sleep(0)
        gate.open()
        assert (await again).hypothesis.tokens == [1]

    assert run(scenario, engine).reuses == []
    assert engine.joins == [[(1,)], [(1,)]]


def test_the_latest_answers_are_kept_and_no_failures() -> None:
    def fail_on_thirteen(sources: list[Tokens]) -> None:
        if (13,) in sources:
            raise RuntimeError("boom")

    engine = EchoEngine(fail_on_thirteen)

    async def scenario(batcher: Batcher, _: Remembering) -> None:
        for number in (1, 2, 1, 3, 1, 2):
            answer = await batcher.submit(Prompt((number,)), LONG_S)
            assert answer.hypothesis.tokens == [number]
        for number in (13, 13):
            with pytest.raises(EngineFailed):
                await batcher.submit(Prompt((number,)), LONG_S)

    observer = run(scenario, engine, cached_answers=2)
    asked = [source for joining in engine.joins for (source,) in joining]
    assert asked == [1, 2, 3, 2, 13, 13]
    assert observer.reuses == ["cached", "cached"]


def test_a_stream_tells_the_tokens_as_they_are_written() -> None:
    async def scenario(batcher: Batcher, _: Remembering) -> None:
        heard = [news async for news in batcher.stream(Prompt((5, 6, 7)), LONG_S)]
        *pieces, answer = heard
        assert isinstance(answer, Answered)
        assert answer.hypothesis.tokens == [5, 6, 7]
        assert pieces == [Progress([5], [0.0], []), Progress([6], [0.0], [])]

    run(scenario, EchoEngine())


def test_closing_a_stream_frees_its_row() -> None:
    async def scenario(batcher: Batcher, _: Remembering) -> None:
        stream = batcher.stream(Prompt((1,) * 1_000_000), LONG_S)
        assert await anext(stream) == Progress([1], [0.0], [])
        await stream.aclose()
        assert (await batcher.submit(Prompt((2,)), LONG_S)).hypothesis.tokens == [2]

    observer = run(scenario, EchoEngine(rows=1), rows=1)
    assert observer.left == ["left"]


def test_a_stream_has_a_deadline() -> None:
    async def scenario(batcher: Batcher, _: Remembering) -> None:
        with pytest.raises(DeadlineExceeded):
            async for _news in batcher.stream(Prompt((1,) * 1_000_000), 0.05):
                pass

    assert run(scenario, EchoEngine()).left == ["deadline"]
