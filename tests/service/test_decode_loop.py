"""When a busy engine reports what it has answered."""

from collections.abc import Callable, Sequence
from itertools import count

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
