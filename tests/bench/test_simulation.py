"""The simulation of one replica, against queueing theory."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.simulation import Arrival, simulate
from loadtest.schedule import Step, at_random
from service.batching.policy import BatchLimits

ONE_BY_ONE = BatchLimits(rows=1, padded_tokens=10_000)
BATCHES = BatchLimits(rows=32, padded_tokens=4096)
arrivals = st.lists(st.builds(Arrival, st.floats(0, 10), st.integers(1, 200)), max_size=60).map(
    lambda found: sorted(found, key=lambda arrival: arrival.at_s)
)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_by_one_it_is_the_queue_of_the_textbook(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) services (Pollaczek and Khinchine)."""
    service_s = 0.01
    due = at_random([Step(load / service_s, 0.0, 2000.0)], seed=3)
    served = simulate([Arrival(at_s, 10) for at_s in due], ONE_BY_ONE, lambda _: service_s)
    mean_s = fmean(result.wait_s for result in served)
    assert mean_s == pytest.approx(service_s * load / (2 * (1 - load)), rel=0.1)


@given(arrivals)
def test_every_question_is_served_once_within_the_limits(found: list[Arrival]) -> None:
    batches: list[int] = []

    def cost(lengths: Sequence[int]) -> float:
        batches.append(len(lengths))
        assert len(lengths) == 1 or max(lengths) * len(lengths) <= BATCHES.padded_tokens
        return 0.1

    served = simulate(found, BATCHES, cost)
    assert len(served) == len(found) == sum(batches)
    assert all(result.wait_s >= 0 for result in served)
    assert all(1 <= result.rows <= BATCHES.rows for result in served)


def test_batches_bear_a_load_that_one_by_one_cannot() -> None:
    """With a cost of 10 ms and 1 ms a row: 91 a second alone, 762 in batches of 32."""
    crowd = [Arrival(at_s, 40) for at_s in at_random([Step(400, 0.0, 4.0)], seed=1)]

    def cost(lengths: Sequence[int]) -> float:
        return 0.010 + 0.001 * len(lengths)

    alone = simulate(crowd, ONE_BY_ONE, cost)
    together = simulate(crowd, BATCHES, cost)
    assert alone[-1].wait_s > 10
    assert max(result.wait_s for result in together) < 0.1
