"""The simulation of one replica, compared with queueing theory and its given costs."""

from __future__ import annotations

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.simulation import Arrival, Costs, simulate
from loadtest.schedule import Step, at_random
from service.batching.policy import BatchLimits

ONE_BY_ONE = BatchLimits(rows=1, tokens=10_000)
ROWS = BatchLimits(rows=8, tokens=400)
COSTS = Costs(
    join=lambda questions: 0.002 + 0.001 * questions, step=lambda rows: 0.001 + 0.0005 * rows
)
arrivals = st.lists(
    st.builds(Arrival, st.floats(0, 1), st.integers(1, 200), st.integers(1, 30)), max_size=60
).map(lambda found: sorted(found, key=lambda arrival: arrival.at_s))
engines = st.integers(1, 3)


def poisson(rate: float, seconds: float, *, steps: int) -> list[Arrival]:
    return [Arrival(at_s, 10, steps) for at_s in at_random([Step(rate, 0.0, seconds)], seed=3)]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_row_and_one_step_wait_as_queueing_theory_says(load: float) -> None:
    """M/D/1: the mean wait is load / (2 (1 - load)) services (Pollaczek and Khinchine)."""
    service_s = 0.01
    costs = Costs(join=lambda _: 0.004, step=lambda _: 0.006)
    served = simulate(poisson(load / service_s, 2000, steps=1), ONE_BY_ONE, costs, engines=1)
    mean_s = fmean(result.wait_s for result in served)
    assert mean_s == pytest.approx(service_s * load / (2 * (1 - load)), rel=0.1)


@given(arrivals, engines)
def test_every_question_is_served_once_within_the_limits(found: list[Arrival], count: int) -> None:
    joined: list[int] = []
    moved: list[int] = []

    def join(questions: int) -> float:
        joined.append(questions)
        return COSTS.join(questions)

    def step(rows: int) -> float:
        moved.append(rows)
        return COSTS.step(rows)

    served = simulate(found, ROWS, Costs(join, step), engines=count)
    assert len(served) == len(found) == sum(joined)
    assert sum(moved) == sum(arrival.steps for arrival in found)
    assert max(moved, default=0) <= ROWS.rows
    assert all(result.wait_s >= 0 for result in served)


@given(st.integers(1, 200), st.integers(1, 30), engines)
def test_a_single_question_takes_its_join_and_its_steps(
    length: int, steps: int, count: int
) -> None:
    (served,) = simulate([Arrival(1.0, length, steps)], ROWS, COSTS, engines=count)
    assert served.wait_s == 0
    assert served.inference_s == pytest.approx(COSTS.join(1) + steps * COSTS.step(1))


@given(arrivals, engines)
def test_no_question_is_faster_in_a_batch_than_alone(found: list[Arrival], count: int) -> None:
    for arrival, result in zip(found, simulate(found, ROWS, COSTS, engines=count), strict=True):
        alone_s = COSTS.join(1) + arrival.steps * COSTS.step(1)
        assert result.inference_s >= alone_s - 1e-9


def test_batching_sustains_a_load_that_single_rows_cannot() -> None:
    """Ten steps: 18 ms alone, so 55 a second; about 8 ms each in full rows, so 120."""
    crowd = poisson(80, 20, steps=10)
    alone = simulate(crowd, ONE_BY_ONE, COSTS, engines=1)
    together = simulate(crowd, ROWS, COSTS, engines=1)
    assert alone[-1].wait_s > 5
    assert max(result.wait_s for result in together) < 0.1


def test_two_engines_sustain_twice_the_load() -> None:
    """Waits are at most equal, because both engines take from one queue."""
    one = simulate(poisson(100, 20, steps=10), ROWS, COSTS, engines=1)
    two = simulate(poisson(200, 20, steps=10), ROWS, COSTS, engines=2)
    flooded = simulate(poisson(200, 20, steps=10), ROWS, COSTS, engines=1)
    assert fmean(result.wait_s for result in two) <= fmean(result.wait_s for result in one)
    assert flooded[-1].wait_s > 5


def test_idle_engines_share_what_arrives_together() -> None:
    served = simulate([Arrival(0.0, 10, 5)] * 4, ROWS, COSTS, engines=2)
    expected_s = COSTS.join(2) + 5 * COSTS.step(2)
    assert [result.inference_s for result in served] == pytest.approx([expected_s] * 4)
