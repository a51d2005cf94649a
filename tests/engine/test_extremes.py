"""Settings at the ends of their ranges: none may make the engine raise, which ends all rows."""

from __future__ import annotations

import math
from typing import Any

import pytest

from engine.contracts import _LENGTH_PENALTIES, Decoding, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from tests.writer import COLUMNS

EOS = 1
SOURCE = (20, 30, 40, EOS)
WIDTH = 104  # the vocabulary, and the spare of the embeddings
ORDINARY = Prompt(SOURCE)
BIASES = ((10, 1e6), (11, -1e6), (EOS, 1e6))
# Nothing is left to write.
ALL_BANNED: dict[str, Any] = {
    "bad_words": tuple((token,) for token in range(WIDTH) if token != EOS),
    "min_new_tokens": COLUMNS,
}

EXTREMES: list[dict[str, Any]] = [
    {"temperature": 1e-20, "repetition_penalty": 1e3, "logit_bias": BIASES},
    {"temperature": 1e-20, "repetition_penalty": 1e-3, "logit_bias": BIASES, "top_p": 0.5},
    {"temperature": 1e-20, "top_k": 5, "logit_bias": BIASES},
    {"temperature": 1e-10, "top_p": 0.9},
    {"temperature": 1e-10, "min_p": 0.1},
    {"temperature": 1e20, "repetition_penalty": 1e3},
    {"temperature": 1e20, "top_p": 1.0, "min_p": 1.0},
    {"top_p": 0.0},
    {"top_k": 10**30, "no_repeat_ngram_size": 10**30},
    ALL_BANNED,
    {**ALL_BANNED, "top_k": 4},
    {**ALL_BANNED, "top_p": 0.5},
]


@pytest.mark.parametrize("extreme", EXTREMES, ids=range(len(EXTREMES)))
def test_samples_at_the_ends_of_the_ranges(
    writer_engine: OrtModel, extreme: dict[str, Any]
) -> None:
    require_an_answer(writer_engine, Decoding(do_sample=True, seed=1, **extreme))


@pytest.mark.parametrize(
    "extreme",
    [
        {"length_penalty": 20.0},
        {"length_penalty": -20.0},
        {"length_penalty": -20.0, "early_stopping": "never", "min_new_tokens": COLUMNS - 1},
        {"repetition_penalty": 1e3, "logit_bias": BIASES},
        {"repetition_penalty": 1e-3, "logit_bias": BIASES},
        ALL_BANNED,
    ],
    ids=str,
)
def test_beams_at_the_ends_of_the_ranges(writer_engine: OrtModel, extreme: dict[str, Any]) -> None:
    require_an_answer(writer_engine, Decoding(num_beams=16, num_return_sequences=2, **extreme))


def test_greedy_decoding_with_nothing_left_to_write(writer_engine: OrtModel) -> None:
    require_an_answer(writer_engine, Decoding(**ALL_BANNED))


def test_the_longest_answers_do_not_overflow_a_length_penalty() -> None:
    """At the ends of the range, over more tokens than any model here writes."""
    for penalty in _LENGTH_PENALTIES:
        Decoding(num_beams=2, length_penalty=penalty)
        assert 0 < 100_000.0**penalty < math.inf


def require_an_answer(model: OrtModel, decoding: Decoding) -> None:
    """Require an answer of known tokens, and the usual one of a prompt in its company."""
    engine = OrtEngine(model, rows=32)
    answer, usual = generate(engine, [Prompt(SOURCE, (), decoding), ORDINARY])
    alone = generate(OrtEngine(model, rows=32), [ORDINARY])[0]
    (found,), (expected,) = usual.hypotheses, alone.hypotheses
    assert found.tokens == expected.tokens
    assert found.logprobs == pytest.approx(expected.logprobs, abs=1e-5)
    assert len(answer.hypotheses) == decoding.num_return_sequences
    for hypothesis in answer.hypotheses:
        assert len(hypothesis.tokens) <= COLUMNS
        assert all(0 <= token < WIDTH for token in hypothesis.tokens)
        assert not math.isnan(hypothesis.logprob)
