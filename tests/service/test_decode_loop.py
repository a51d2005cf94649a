"""A busy engine reads its orders and reports its answers at the right steps."""

from collections.abc import Callable, Sequence
from itertools import count

import pytest

from engine.contracts import Prompt
from engine.echo import EchoEngine
from service.batching.policy import BatchLimits
from service.contracts import Join, Order, Report
from service.hosting.decode_loop import DecodeLoop


def answers(clock: Callable[[], float]) -> list[list[int]]:
    """Return the prompts answered in each report, of six prompts for an engine of one row."""
    orders: list[Sequence[Order]] = [[Join(key, Prompt((7, 8)), False) for key in range(6)]]
    reports: list[Report] = []

    def receive(wait: bool) -> Sequence[Order] | None:
        if orders:
            return orders.pop()
        return None if wait else []

    limits = BatchLimits(rows=1, tokens=100)
    DecodeLoop(
        EchoEngine(rows=1), limits, receive=receive, report=reports.append, clock=clock
    ).run()
    told = [[one.key for one in report.finished] for report in reports]
    return [keys for keys in told if keys]


def test_answers_of_a_backlog_travel_together_and_the_last_at_once() -> None:
    assert answers(clock=lambda: 0.0) == [[0, 1, 2, 3, 4], [5]]


def test_answers_are_grouped_for_two_milliseconds_at_most() -> None:
    milliseconds = count()
    told = answers(clock=lambda: next(milliseconds) / 1000)
    assert told == [[key] for key in range(6)]


def steps_until_messages(rows: int, *, streaming: bool = False, step_s: float = 0.0001) -> int:
    """Return the steps between the first two exchanges of an engine with so many active rows."""
    now_s = 0.0
    steps = 0

    def step(_: object) -> None:
        nonlocal now_s, steps
        now_s += step_s
        steps += 1

    prompts = [Join(key, Prompt((key, *range(40))), streaming) for key in range(rows)]
    orders: list[Sequence[Order]] = [prompts]
    exchanges: list[int] = []

    def receive(wait: bool) -> Sequence[Order] | None:
        exchanges.append(steps)
        if orders:
            return orders.pop()
        return None if len(exchanges) > len(prompts) + 3 else []

    limits = BatchLimits(rows=32, tokens=10_000)
    DecodeLoop(
        EchoEngine(step, rows=32),
        limits,
        receive=receive,
        report=lambda _: None,
        clock=lambda: now_s,
    ).run()
    started, following = exchanges[1:3]  # the rows are active from the second exchange on
    return following - started


@pytest.mark.parametrize(("rows", "steps"), [(1, 1), (7, 1), (8, 2), (16, 3), (32, 5)])
def test_an_engine_exchanges_messages_the_less_often_the_more_rows_it_has(
    rows: int, steps: int
) -> None:
    assert steps_until_messages(rows) == steps


def test_a_slow_model_exchanges_messages_at_every_step() -> None:
    assert steps_until_messages(32, step_s=0.01) == 1


def test_a_caller_that_reads_along_gets_every_token_at_once() -> None:
    assert steps_until_messages(32, streaming=True) == 1
