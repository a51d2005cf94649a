"""Tokens chosen by the kernels of every level are those that the definitions choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.kernel_harness.operator import Arrays, Operator, each_level, normal, seeds, some


@each_level
@some
@given(seeds, st.integers(1, 9), st.integers(2, 60), st.integers(1, 7), st.booleans())
def test_the_two_likeliest(
    level: str, seed: int, batch: int, groups: int, size: int, ties: bool
) -> None:
    random = np.random.default_rng(seed)
    logits = 5 * normal(random, batch, 1, groups * size)
    if ties:
        logits = np.round(logits)
    operator = Operator("Likeliest", {"logits": logits}, {}, outputs=2, size=size)
    best, logprobs = operator.by_kernel(level)
    expected_best, expected_logprobs = operator.by_definition()
    np.testing.assert_allclose(logprobs, expected_logprobs, rtol=1e-4, atol=1e-5)
    if size > 1 and not ties:
        assert np.array_equal(best, expected_best)
    rows = np.arange(batch)[:, None]
    ordered = np.sort(logits[:, 0])[:, ::-1][:, :2]
    assert np.array_equal(logits[:, 0][rows, best], ordered)
    assert (best[:, 0] != best[:, 1]).all()


@each_level
@pytest.mark.parametrize(("first", "second"), [(5, 21), (21, 5), (5, 6), (47, 0)])
def test_the_two_likeliest_wherever_they_are(level: str, first: int, second: int) -> None:
    """Vectors of sixteen: in the same lane, one after the other in either order, or in others."""
    logits = np.full((1, 1, 48), -1.0, np.float32)
    logits[0, 0, [first, second]] = 3.0, 2.0
    best, _ = Operator("Likeliest", {"logits": logits}, {}, outputs=2, size=6).by_kernel(level)
    assert best.tolist() == [[first, second]]


def adjustments(random: np.random.Generator, rows: int, tokens: int, many: int) -> Arrays:
    """Return adjustments of different tokens in each row; some are banned."""
    named = [random.permutation(tokens)[:many] for _ in range(rows)]
    banned = random.random((rows, many)) < 0.2
    return {
        "tokens": np.array(named, np.int64).reshape(rows, many),
        "biases": np.where(banned, -np.inf, normal(random, rows, many)).astype(np.float32),
        "penalties": random.uniform(0.5, 2.0, (rows, many)).astype(np.float32),
    }


def asked(random: np.random.Generator, rows: int, tokens: int, many: int) -> Arrays:
    """Return logits, the `rows` of them that are asked for, and at most `many` adjustments each."""
    return {
        "logits": 5 * normal(random, 3, 1, tokens),
        "rows": random.integers(0, 3, rows),
        **adjustments(random, rows, tokens, many),
    }


@each_level
@some
@given(seeds, st.integers(1, 5), st.integers(1, 300), st.integers(0, 40), st.integers(1, 70))
def test_candidates(level: str, seed: int, rows: int, tokens: int, many: int, most: int) -> None:
    random = np.random.default_rng(seed)
    operator = Operator(
        "Candidates",
        {
            **asked(random, rows, tokens, min(many, tokens)),
            "normalised": random.integers(0, 2, rows).astype(np.int32),
            "count": np.array([min(most, tokens)]),
        },
        {},
        outputs=3,
    )
    best, scores, logprobs = operator.by_kernel(level)
    expected_best, expected_scores, expected_logprobs = operator.by_definition()
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-5)
    finite = np.maximum(expected_scores, -1e9)
    near = np.abs(np.diff(finite)).min(initial=1.0) < 1e-4  # or two are banned
    if not near:
        assert np.array_equal(best, expected_best)
        np.testing.assert_allclose(logprobs, expected_logprobs, rtol=1e-5, atol=2e-5)
    assert all(len(set(row)) == len(row) for row in best.tolist())


@each_level
@pytest.mark.parametrize("tokens", [103, 32_128, 250_112])
def test_log_probabilities_keep_their_digits(level: str, tokens: int) -> None:
    """They are those in float64, for large logits and over all of mT5's vocabulary."""
    logits = (200 + 5 * np.random.default_rng(1).standard_normal((1, 1, tokens))).astype(np.float32)
    exact = logits[0, 0].astype(np.float64)
    exact -= exact.max() + np.log(np.exp(exact - exact.max()).sum())
    inputs: Arrays = {"logits": logits, "rows": np.zeros(1, np.int64)}
    inputs |= adjustments(np.random.default_rng(0), 1, tokens, 0)
    ranked: Arrays = {**inputs, "normalised": np.ones(1, np.int32), "count": np.array([64])}
    drawn = {name: np.full(1, 0.5, np.float32) for name in ("temperatures", "uniforms")}
    likeliest = Operator("Likeliest", {"logits": logits}, {}, outputs=2, size=1)
    best, logprobs = likeliest.by_kernel(level)
    ranking, scores, of_ranking = Operator("Candidates", ranked, {}, outputs=3).by_kernel(level)
    token, of_token, _ = Operator("Draw", {**inputs, **drawn}, {}, outputs=3).by_kernel(level)
    for tokens_found, found in (
        (best[0], logprobs[0]),
        (ranking[0], scores[0]),
        (ranking[0], of_ranking[0]),
        (token, of_token),
    ):
        np.testing.assert_allclose(found, exact[tokens_found], rtol=0, atol=2e-6)


@each_level
def test_candidates_of_equal_scores_are_the_first_tokens(level: str) -> None:
    """Also where every vector ties with the worst so far, and where all are banned."""
    logits = np.zeros((1, 1, 100), np.float32)
    logits[0, 0, [97, 40]] = 1.0
    for height in (0.0, -np.inf):
        inputs = {
            "logits": np.where(logits == 0.0, np.float32(height), logits),
            "rows": np.zeros(1, np.int64),
            **adjustments(np.random.default_rng(0), 1, 100, 0),
            "normalised": np.zeros(1, np.int32),
            "count": np.array([5]),
        }
        best, _, _ = Operator("Candidates", inputs, {}, outputs=3).by_kernel(level)
        assert best.tolist() == [[40, 97, 0, 1, 2]]


@each_level
@some
@given(seeds, st.integers(1, 5), st.integers(1, 3000), st.integers(0, 40))
def test_drawn_tokens(level: str, seed: int, rows: int, tokens: int, many: int) -> None:
    random = np.random.default_rng(seed)
    operator = Operator(
        "Draw",
        {
            **asked(random, rows, tokens, min(many, tokens - 1)),
            "temperatures": random.uniform(0.2, 3.0, rows).astype(np.float32),
            "uniforms": random.uniform(1e-3, 1 - 1e-3, rows).astype(np.float32),
        },
        {},
        outputs=3,
    )
    drawn, logprobs, totals = operator.by_kernel(level)
    expected_drawn, expected_logprobs, expected_totals = operator.by_definition()
    np.testing.assert_allclose(totals, expected_totals, rtol=1e-5, atol=1e-5)
    same = drawn == expected_drawn
    np.testing.assert_allclose(logprobs[same], expected_logprobs[same], rtol=1e-5, atol=2e-5)
    others = _cumulative(operator.inputs)
    for row in np.flatnonzero(~same):  # the number lies on the edge between two tokens
        edges = others[row, [drawn[row], expected_drawn[row]]].min()
        assert edges == pytest.approx(operator.inputs["uniforms"][row], abs=1e-5)


def _cumulative(inputs: Arrays) -> np.ndarray:
    """Cumulative probabilities of the tokens of each row, in float64."""
    x = inputs["logits"][inputs["rows"], 0].astype(np.float64)
    for row, tokens in enumerate(inputs["tokens"]):
        biased = x[row, tokens] + inputs["biases"][row]
        penalties = inputs["penalties"][row]
        x[row, tokens] = np.where(biased < 0, biased * penalties, biased / penalties)
    weights = np.exp((x - x.max(axis=1, keepdims=True)) / inputs["temperatures"][:, None])
    summed: np.ndarray = weights.cumsum(axis=1) / weights.sum(axis=1, keepdims=True)
    return summed


@each_level
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": np.array([3])}, "rows must be indices of logits"),
        ({"tokens": np.array([[9]])}, "tokens must be from 0 to the last of logits"),
        ({"count": np.array([10])}, "count must be from 1 to the number of tokens"),
    ],
)
def test_what_candidates_do_not_take(level: str, wrong: Arrays, message: str) -> None:
    inputs = {
        "logits": np.zeros((3, 1, 9), np.float32),
        "rows": np.array([2]),
        "tokens": np.array([[8]]),
        "biases": np.zeros((1, 1), np.float32),
        "penalties": np.ones((1, 1), np.float32),
        "normalised": np.zeros(1, np.int32),
        "count": np.array([9]),
        **wrong,
    }
    with pytest.raises(Exception, match=message):
        Operator("Candidates", inputs, {}, outputs=3).by_kernel(level)
