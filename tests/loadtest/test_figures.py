"""Percentiles, steps of load and the knee."""

from __future__ import annotations

from itertools import chain
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.figures import by_step, knee, over_time, percentile, statuses
from loadtest.samples import Sample
from loadtest.schedule import Step, evenly, steps


def served(due_s: float, latency_s: float, status: int = 200, expected: int = 200) -> Sample:
    return Sample("/solve", 1, due_s, due_s, due_s + latency_s, status, expected, 1.0, 4.0, 6.0)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_the_smallest_value_that_covers_its_share(
    values: list[float], quantile: float
) -> None:
    found = percentile(values, quantile)
    assert found in values
    assert sum(value <= found for value in values) >= quantile * len(values)
    assert sum(value < found for value in values) < quantile * len(values) + 1e-9


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_latency_counts_by_due_time_and_throughput_by_answer_time() -> None:
    plan = steps([2, 2], seconds=1.0)
    samples = [
        served(0.0, 0.1),
        served(0.5, 0.9),  # answered in the second step
        served(1.0, 0.1, status=429),
        served(1.5, 0.1, status=500),
        served(1.6, 0.1, status=422, expected=422),
    ]
    first, second = by_step(samples, plan)
    assert (first.requests, first.throughput) == (2, 1.0)
    assert (first.p50_ms, first.max_ms) == pytest.approx((100, 900))
    assert (second.requests, second.throughput) == (3, 2.0)
    assert (second.refused, second.failed) == (1, 1)
    assert (second.queue_ms, second.inference_ms) == (1.0, 4.0)


def test_latency_counts_from_when_a_request_was_due() -> None:
    """Coordinated omission: the latency of requests that were due in a stall includes the stall."""
    stall_ends_s = 1.0
    samples = []
    for due_s in evenly([Step(100, 0.0, 2.0)]):
        sent_s = max(due_s, stall_ends_s)
        samples.append(Sample("/solve", 1, due_s, sent_s, sent_s + 0.01, 200, 200))
    (step,) = by_step(samples, [Step(100, 0.0, 2.0)])
    assert step.p50_ms == pytest.approx(20, abs=10)
    assert step.p90_ms > 800  # measured from when it was sent, it would be 10


def test_the_knee_is_where_latency_outruns_throughput() -> None:
    """A queue with one server of 100 requests/s, by theory (M/M/1), and overload after that."""
    random = Random(0)
    plan = steps([10, 20, 30, 40, 50, 60, 70, 80, 90, 99, 120], seconds=10.0)
    samples = []
    for step in plan:
        mean_s = 1 / (100 - step.load) if step.load < 100 else 5.0
        samples += [served(due_s, random.expovariate(1 / mean_s)) for due_s in evenly([step])]
    found = knee(by_step(samples, plan))
    assert found is not None
    assert 80 <= found.load <= 90
    assert knee([]) is None


def test_latency_over_time_is_binned() -> None:
    samples = [served(0.1, 0.01), served(0.2, 0.03), served(1.2, 0.02)]
    series = over_time(samples, bin_s=1.0)
    assert [*chain(*series[0.5])] == pytest.approx([0.5, 10, 1.5, 20])
    assert [*chain(*series[0.99])] == pytest.approx([0.5, 30, 1.5, 20])


def test_answers_are_counted_by_path_and_status() -> None:
    samples = [served(0, 1), served(0, 1, status=0), served(0, 1)]
    assert statuses(samples) == {"/solve 200": 2, "/solve no answer": 1}
