from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.confidence import confidence
from training.calibration import (
    Bin,
    brier,
    expected_calibration_error,
    fit,
    isotonic,
    reliability,
)

scores = st.floats(-50, 0, width=32)
graded = st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=120)
few = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=4)


def split(rows: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    return [score for score, _ in rows], [right for _, right in rows]


@given(few)
def test_pooling_finds_the_nearest_rising_sequence(rows: list[tuple[int, int]]) -> None:
    """Brute force finds the best rising sequence: it takes the means of runs of neighbours."""
    values, weights = [value for value, _ in rows], [weight for _, weight in rows]

    def cost(fitted: list[float]) -> float:
        triples = zip(values, weights, fitted, strict=True)
        return sum(weight * (value - f) ** 2 for value, weight, f in triples)

    def means(cuts: tuple[bool, ...]) -> list[float]:
        ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(rows)]
        fitted: list[float] = []
        for start, end in zip([0, *ends], ends, strict=False):
            total = sum(weights[start:end])
            mean = sum(value * weight for value, weight in rows[start:end]) / total
            fitted += [mean] * (end - start)
        return fitted

    candidates = map(means, product((False, True), repeat=len(rows) - 1))
    best = min(cost(fitted) for fitted in candidates if fitted == sorted(fitted))
    found = isotonic(values, weights)
    assert all(a <= b + 1e-12 for a, b in pairwise(found))
    assert cost(found) == pytest.approx(best, abs=1e-9)


@given(graded, st.integers(2, 30))
def test_knots_rise_and_are_never_certain(rows: list[tuple[float, bool]], most: int) -> None:
    knots = fit(*split(rows), most_knots=most)
    assert 1 <= len(knots) <= most
    for (score, probability), (next_score, next_probability) in pairwise(knots):
        assert score < next_score
        assert probability <= next_probability
    assert all(0 < probability < 1 for _, probability in knots)


@given(graded)
def test_the_base_rate_is_reproduced(rows: list[tuple[float, bool]]) -> None:
    """Laplace's rule moves the sum by less than one question for each score there was."""
    knots = fit(*split(rows), most_knots=1000)
    mean = sum(confidence(knots, score) for score, _ in rows) / len(rows)
    base = sum(right for _, right in rows) / len(rows)
    distinct = len({score for score, _ in rows})
    assert abs(mean - base) <= distinct / len(rows)


@given(graded, scores, scores)
def test_a_higher_score_is_never_less_sure(
    rows: list[tuple[float, bool]], one: float, other: float
) -> None:
    knots = fit(*split(rows))
    low, high = sorted((one, other))
    assert confidence(knots, low) <= confidence(knots, high) + 1e-12
    assert knots[0][1] == confidence(knots, -1e9)
    assert knots[-1][1] == confidence(knots, 1e9)


def test_a_calibrated_score_is_left_nearly_as_it_is() -> None:
    rows = [(k / 10, i < 100 * k) for k in range(11) for i in range(1000)]
    knots = fit(*split(rows))
    for k in range(11):
        assert confidence(knots, k / 10) == pytest.approx(k / 10, abs=0.001)


def test_a_thousand_right_answers_are_no_certainty() -> None:
    assert fit([0.0] * 1000, [True] * 1000) == [(0.0, 1001 / 1002)]


@pytest.mark.parametrize("wrong", [[], [float("nan")], [float("-inf"), 0.0]])
def test_scores_that_say_nothing_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one, and all of them finite"):
        fit(wrong, [True] * len(wrong))


@given(st.permutations([(0.1, False), (0.1, True), (0.5, True), (0.9, True), (0.9, False)]))
def test_bins_do_not_depend_on_the_order(rows: list[tuple[float, bool]]) -> None:
    low, middle, high = reliability(*split(rows), bins=3)
    assert middle == Bin(1, 1, 0.5)
    for found, mean in ((low, 0.1), (high, 0.9)):
        assert (found.questions, found.right) == (2, 1)
        assert found.confidence == pytest.approx(mean)


def test_bins_have_equal_counts() -> None:
    confidences = [i / 100 for i in range(100)]
    bins = reliability(confidences, [c > 0.5 for c in confidences], bins=10)
    assert [b.questions for b in bins] == [10] * 10
    assert sum(b.right for b in bins) == 49
    assert reliability([], []) == []


def test_calibration_errors_by_hand() -> None:
    bins = [Bin(3, 3, 0.9), Bin(1, 0, 0.2)]
    assert expected_calibration_error(bins) == pytest.approx((3 * 0.1 + 0.2) / 4)
    assert brier([0.9, 0.2], [True, False]) == pytest.approx((0.01 + 0.04) / 2)
