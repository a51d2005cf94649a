"""Due times and contents of requests."""

from __future__ import annotations

from itertools import islice
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equations.parser import parse
from loadtest.schedule import Step, around, at_random, evenly, steps
from loadtest.workload import BATCH, OK, SOLVE, asks


def test_steps_are_consecutive() -> None:
    assert steps([1, 5], seconds=2.0) == [Step(1, 0.0, 2.0), Step(5, 2.0, 4.0)]


@given(st.floats(1, 500), st.floats(1, 20))
def test_even_requests_have_the_rate_and_stay_in_their_step(rate: float, seconds: float) -> None:
    due = list(evenly([Step(rate, 3.0, 3.0 + seconds)]))
    assert abs(len(due) - rate * seconds) <= 0.5 + 1e-9  # the step's own length is rounded too
    assert due == sorted(due)
    assert due[0] == 3.0
    assert due[-1] <= 3.0 + seconds


@given(st.integers(0, 1000))
def test_random_requests_have_the_rate_on_average(seed: int) -> None:
    plan = [Step(100, 0.0, 20.0)]
    due = list(at_random(plan, seed))
    assert abs(len(due) - 2000) < 6 * 2000**0.5
    assert due == sorted(due)
    assert due == list(at_random(plan, seed))


@pytest.mark.parametrize("capacity", [3.0, 40.0, 155.0, 10_000.0])
def test_rates_lie_around_a_capacity(capacity: float) -> None:
    rates = around(capacity)
    assert rates == sorted(set(rates))
    assert rates[0] < capacity / 5
    assert rates[-1] > 1.2 * capacity


def test_the_mix_has_its_shares_of_batches_and_mistakes() -> None:
    sample = list(islice(asks(seed=1), 4000))
    assert sample == list(islice(asks(seed=1), 4000))
    batches = [ask for ask in sample if ask.path == BATCH]
    mistakes = [ask for ask in sample if ask.expected != OK]
    assert 0.03 < len(batches) / len(sample) < 0.07
    assert 0.03 < len(mistakes) / len(sample) < 0.07
    assert {ask.questions for ask in batches} == set(range(2, 17))
    assert all(ask.questions == 1 for ask in sample if ask.path == SOLVE)


def test_questions_parse_and_vary_in_length() -> None:
    good = [ask for ask in islice(asks(seed=2), 1000) if ask.path == SOLVE and ask.expected == OK]
    texts = [ask.body["question"] for ask in good]
    for text in texts:
        assert parse(text).with_integers().solution() is not None
    assert min(map(len, texts)) < 15
    assert max(map(len, texts)) > 40
    assert 20 < fmean(map(len, texts)) < 60
