"""The kernels for a GPU do what the operators' definitions say, emulated on the processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_export import operators
from tests.engine.kernel_harness.cases import Case
from tests.engine.kernel_harness.definitions import computed, wanted
from tests.engine.kernel_harness.lying import lying_cases
from tests.engine.kernel_harness.shapes import Numbers, choosing, edge_cases, likeliest

ATTENTION = ("CachedAttention", "CrossAttention", "SharedCrossAttention", "EncoderAttention")
CHOOSING = ("Candidates", "Draw", "Likeliest")
# A kernel cannot report what only the GPU's memory says; it writes NaN or leaves it out.
UNCHECKED = ("add up", "at least 1", "at most", "from 1 to the length", "past must be from 0",
             "rows must be indices", "sources must be from 0", "tokens must be from 0")  # fmt: skip


def cases(*kinds: str) -> list[Case]:
    return [case for case in edge_cases() if case.kind in kinds]


def columns_written(case: Case, caches: np.ndarray) -> list[np.ndarray]:
    """Return what the cache of each row has up to its new column, which is all that is defined."""
    return [row[:, : past + 1] for row, past in zip(caches, case.inputs["past"], strict=True)]


def test_kernels_give_what_the_definitions_do(emulated_cuda: Path) -> None:
    for case in cases(*ATTENTION, *CHOOSING):
        expected, tolerance = wanted(case)
        found = computed(case, library=emulated_cuda)
        for one, other in zip(found, expected, strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=tolerance, err_msg=case.kind)


def halved(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: value.astype(np.float16) if value.dtype == np.float32 else value
        for name, value in values.items()
    }


def whole(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: value.astype(np.float32) if value.dtype == np.float16 else value
        for name, value in values.items()
    }


def test_attention_in_fp16_is_that_of_the_rounded_numbers(emulated_cuda: Path) -> None:
    """Sums are fp32: only what goes in and what comes out is rounded."""
    for case in cases(*ATTENTION):
        half = replace(case, inputs=halved(case.inputs), constants=halved(case.constants))
        rounded = replace(case, inputs=whole(half.inputs), constants=whole(half.constants))
        found = computed(half, library=emulated_cuda, domain=operators.HALF_DOMAIN)
        expected = computed(rounded)
        assert found[0].dtype == np.float16
        np.testing.assert_allclose(
            found[0].astype(np.float32), expected[0], rtol=1e-3, atol=1e-4, err_msg=case.kind
        )
        for cache, other in zip(found[1:], expected[1:], strict=True):
            pairs = zip(columns_written(case, cache), columns_written(case, other), strict=True)
            assert all(np.array_equal(one, two) for one, two in pairs)


def test_a_step_writes_one_column_of_the_caches(emulated_cuda: Path) -> None:
    for case in cases("CachedAttention"):
        _, *caches = computed(case, library=emulated_cuda)
        rows, heads, _, d_kv = case.inputs["key"].shape
        new = case.inputs["joint"].reshape(rows, 3, heads, d_kv)
        for part, (cache, name) in enumerate(zip(caches, ("key", "value"), strict=True)):
            expected = case.inputs[name].copy()
            for row, past in enumerate(case.inputs["past"]):
                expected[row, :, past] = new[row, part + 1]
            assert np.array_equal(cache, expected)


def test_more_sources_than_lanes(emulated_cuda: Path) -> None:
    """A warp looks for a token's source among 32 at a time."""
    random = np.random.default_rng(3)
    for sources in (31, 32, 33, 64, 70):
        lengths = random.integers(1, 4, sources).astype(np.int32)
        case = Case(
            "EncoderAttention",
            {
                "joint": random.standard_normal((int(lengths.sum()), 3 * 8)).astype(np.float32),
                "lengths": lengths,
            },
            {"biases": random.standard_normal((5, 1)).astype(np.float32)},
            {"num_heads": 1},
        )
        np.testing.assert_allclose(
            computed(case, library=emulated_cuda)[0], computed(case)[0], rtol=1e-4, atol=1e-5
        )


def test_the_first_of_equal_tokens_is_the_likeliest(emulated_cuda: Path) -> None:
    """Threads see every 512th token; which thread has it must not matter."""
    logits = np.zeros((4, 1, 1500), np.float32)
    for row, tokens in enumerate([(3, 515), (1400, 2), (512, 513), (1024, 512)]):
        logits[row, 0, list(tokens)] = 5.0
    case = Case("Likeliest", {"logits": logits}, {}, {"size": 50}, 2)
    best, _ = computed(case, library=emulated_cuda)
    assert best.tolist() == [[3, 515], [2, 1400], [512, 513], [512, 1024]]


@pytest.mark.parametrize("tokens", [103, 32_128, 250_112])
def test_log_probabilities_keep_their_digits(emulated_cuda: Path, tokens: int) -> None:
    """They are those in float64, for large logits and over all of mT5's vocabulary."""
    logits = (200 + 5 * np.random.default_rng(1).standard_normal((1, 1, tokens))).astype(np.float32)
    exact = logits[0, 0].astype(np.float64)
    exact -= exact.max() + np.log(np.exp(exact - exact.max()).sum())
    ranking, drawing = (
        replace(
            case,
            inputs=dict(case.inputs)
            | {"logits": logits, "rows": np.zeros(1, np.int64)}
            | {name: np.zeros((1, 0), kind)
               for name, kind in (("tokens", "i8"), ("biases", "f4"), ("penalties", "f4"))},
        )
        for case in choosing(Numbers(5), 1, 103, 64)
    )  # fmt: skip
    ranking = replace(ranking, inputs=dict(ranking.inputs) | {"normalised": np.ones(1, np.int32)})
    choice = Case("Likeliest", {"logits": logits}, {}, {"size": 1}, 2)
    best, logprobs = computed(choice, library=emulated_cuda)
    ranked, scores, of_ranked = computed(ranking, library=emulated_cuda)
    drawn, of_drawn, _ = computed(drawing, library=emulated_cuda)
    for found_tokens, found in (
        (best[0], logprobs[0]),
        (ranked[0], scores[0]),
        (ranked[0], of_ranked[0]),
        (drawn, of_drawn),
    ):
        np.testing.assert_allclose(found, exact[found_tokens], rtol=0, atol=2e-6)


def test_all_tokens_banned_but_few(emulated_cuda: Path) -> None:
    """A row of minus infinity gives its first tokens, each once."""
    candidates, _ = choosing(Numbers(5), 2, 9, 4)
    banned = replace(
        candidates,
        inputs=dict(candidates.inputs)
        | {"logits": np.full((3, 1, 9), -np.inf, "f4"), "normalised": np.zeros(2, np.int32)},
    )
    best, scores, _ = computed(banned, library=emulated_cuda)
    assert best.tolist() == [[0, 1, 2, 3]] * 2
    assert np.isneginf(scores).all()


@pytest.mark.parametrize("past", [-1, 9])
def test_a_position_out_of_range_gives_nan_and_leaves_the_caches(
    emulated_cuda: Path, past: int
) -> None:
    case = cases("CachedAttention")[0]
    wrong = case.inputs["past"].copy()
    wrong[1] = past
    changed = replace(case, inputs=dict(case.inputs) | {"past": wrong})
    mixed, keys, values = computed(changed, library=emulated_cuda)
    assert np.isnan(mixed[1]).all()
    assert np.isfinite(mixed[[0, 2]]).all()
    assert np.array_equal(keys[1], case.inputs["key"][1])
    assert np.array_equal(values[1], case.inputs["value"][1])


@pytest.mark.parametrize("length", [0, 18])
def test_a_length_out_of_range_gives_nan(emulated_cuda: Path, length: int) -> None:
    case = cases("CrossAttention")[0]
    wrong = case.inputs["lengths"].copy()
    wrong[1] = length
    changed = replace(case, inputs=dict(case.inputs) | {"lengths": wrong})
    (mixed,) = computed(changed, library=emulated_cuda)
    assert np.isnan(mixed[1]).all()
    assert np.isfinite(mixed[[0, 2]]).all()


@pytest.mark.parametrize("source", [-1, 3])
def test_a_source_out_of_range_gives_nan(emulated_cuda: Path, source: int) -> None:
    case = cases("SharedCrossAttention")[0]
    wrong = case.inputs["sources"].copy()
    wrong[1] = source
    changed = replace(case, inputs=dict(case.inputs) | {"sources": wrong})
    (mixed,) = computed(changed, library=emulated_cuda)
    assert np.isnan(mixed[1]).all()
    assert np.isfinite(mixed[[0, 2, 3, 4]]).all()


def test_shapes_that_disagree_are_refused(emulated_cuda: Path) -> None:
    refused = [
        (case, message)
        for case, message in lying_cases()
        if case.kind in (*ATTENTION, *CHOOSING) and message not in UNCHECKED
    ]
    assert refused
    for case, message in refused:
        with pytest.raises(Exception, match=message.replace("(", r"\(").replace(")", r"\)")):
            computed(case, library=emulated_cuda)


def test_no_rows_are_no_work(emulated_cuda: Path) -> None:
    case = likeliest(Numbers(1), 0, 7)
    best, logprobs = computed(case, library=emulated_cuda)
    assert best.shape == logprobs.shape == (0, 2)
