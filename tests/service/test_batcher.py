"""The batcher's promises, with an engine that echoes and a clock that stands still."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable

import pytest

from engine.contracts import Answer, Decoding, Engine, Progress, Prompt, Tokens
from engine.echo import EchoEngine, hypothesis
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Answered, Report, Started
from service.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineRefused,
    InvalidSetting,
    NotReady,
    Overloaded,
    ShuttingDown,
)
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
            hang_timeout_s=0.01,
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


def test_a_pause_of_the_whole_machine_does_not_count_as_a_hang() -> None:
    gate = Gate()

    async def scenario(batcher: Batcher, observer: Remembering) -> None:
        asked = asyncio.create_task(batcher.submit(Prompt((1,)), LONG_S))
        await gate.holds_a_step()
        time.sleep(0.6)  # nothing runs here meanwhile, and nothing there
        gate.open()
        assert (await asked).hypothesis.tokens == [1]
        assert observer.ends == []

    run(scenario, EchoEngine(gate, rows=8), hang_timeout_s=0.5)


def test_an_engine_that_hangs_at_its_start_is_started_again() -> None:
    class Late(ThreadHost):
        """The first time it says nothing."""

        starts = 0

        async def start(self, on_report: Callable[[Report], None]) -> Started:
            self.starts += 1
            if self.starts == 1:
                await asyncio.get_running_loop().create_future()
            return await super().start(on_report)

    async def main() -> None:
        limits = BatchLimits(8, 100)
        host = Late(EchoEngine(), limits)
        batcher = Batcher([host], limits, max_queue=9, hang_timeout_s=0.01, observer=Remembering())
        async with asyncio.timeout(LONG_S):
            await batcher.start()
        assert host.starts == 2
        assert (await batcher.submit(Prompt((1,)), LONG_S)).hypothesis.tokens == [1]
        await batcher.drain(LONG_S)

    asyncio.run(main())


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


def test_an_idle_engine_may_be_silent() -> None:
    clock = Clock()

    async def main() -> None:
        observer, limits = Remembering(), BatchLimits(8, 100)
        batcher = Batcher(
            [ThreadHost(EchoEngine(), limits, clock=clock)],
            limits,
            max_queue=9,
            hang_timeout_s=0.004,
            observer=observer,
            clock=clock,
        )
        await batcher.start()
        for number in range(3):
            clock.now_s += 1000.0
            await asyncio.sleep(0.005)  # some looks of the watch
            assert (await batcher.submit(Prompt((number,)), LONG_S)).hypothesis.tokens == [number]
        assert observer.ends == []
        await batcher.drain(LONG_S)

    asyncio.run(main())


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
