"""The engine's answers are transformers' own, token by token, whatever shares the batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import T5ForConditionalGeneration

from engine.contracts import Answer, Decoding, Prompt
from engine.ort import OrtEngine, OrtModel
from model_export.reference_decoding import Reference, reference_answers
from tests.writer import COLUMNS

EOS, TOKENS = 1, range(3, 103)
Expected = Callable[[Prompt], list[Reference]]
SETTINGS = [
    Decoding(),
    Decoding(max_new_tokens=4),
    Decoding(min_new_tokens=7),
    Decoding(repetition_penalty=1.7),
    Decoding(repetition_penalty=0.6, max_new_tokens=5),
    Decoding(no_repeat_ngram_size=1),
    Decoding(no_repeat_ngram_size=2),
    Decoding(bad_words=((40,), (50, 51), tuple(TOKENS)[:30:3]), no_repeat_ngram_size=3),
    Decoding(logit_bias=((1, -3.0), (20, 4.0), (30, 2.5)), repetition_penalty=1.2),
    Decoding(num_beams=2),
    Decoding(num_beams=4, num_return_sequences=4),
    Decoding(num_beams=8, num_return_sequences=3),
    Decoding(num_beams=4, length_penalty=2.0, no_repeat_ngram_size=3),
    Decoding(num_beams=4, length_penalty=-1.0, early_stopping=True, num_return_sequences=2),
    Decoding(num_beams=3, length_penalty=0.0, early_stopping="never", num_return_sequences=3),
    Decoding(num_beams=4, length_penalty=1.5, early_stopping="never", num_return_sequences=4),
    Decoding(num_beams=4, repetition_penalty=1.5, min_new_tokens=5, num_return_sequences=2),
    Decoding(
        num_beams=4, repetition_penalty=1.3, logit_bias=((1, 2.0), (9, 3.0)), bad_words=((8,),)
    ),
    Decoding(num_beams=2, max_new_tokens=1, num_return_sequences=2),
    Decoding(num_beams=4, no_repeat_ngram_size=1, early_stopping=True),
]
pytestmark = pytest.mark.usefixtures("writer")


def random_prompt(random: Random) -> Prompt:
    source = tuple(random.choices(TOKENS, k=random.choice((1, 4, 15, 40))))
    forced = tuple(random.choices(TOKENS, k=random.choice((0, 0, 0, 1, 3))))
    return Prompt((*source, EOS), forced, random.choice(SETTINGS))


@pytest.fixture(scope="module")
def expected(writer_torch: T5ForConditionalGeneration) -> Expected:
    """Return a function to transformers' answers to a prompt alone."""

    @cache
    def answer(prompt: Prompt) -> list[Reference]:
        return reference_answers(writer_torch, [prompt], most=COLUMNS)[0]

    return answer


def assert_equal(found: Answer, expected: list[Reference], prompt: Prompt) -> None:
    """Compare tokens, and of beams the sums of log-probabilities within 1e-4.

    A score is the sum over the number of tokens to the power of the length penalty, so one of -1
    multiplies the rounding of the sum by that number (decision 41).
    """
    tokens = [hypothesis.tokens for hypothesis in found.hypotheses]
    assert tokens == [reference.tokens for reference in expected], prompt
    for ours, theirs in zip(found.hypotheses, expected, strict=True):
        if ours.score is not None and theirs.score is not None:
            generated = max(1, len(ours.logprobs) - len(prompt.forced))
            scale = generated**prompt.decoding.length_penalty
            assert ours.score * scale == pytest.approx(theirs.score * scale, abs=1e-4), prompt
        assert (ours.score is None) == (theirs.score is None)


@pytest.mark.parametrize("decoding", SETTINGS, ids=str)
def test_each_setting_alone(
    writer_engine: OrtModel, expected: Expected, decoding: Decoding
) -> None:
    random, engine = Random(1), OrtEngine(writer_engine, rows=decoding.rows)
    for length, forced in ((1, 0), (9, 0), (20, 2), (40, 0), (15, 3), (5, 0)):
        prompt = Prompt(
            (*random.choices(TOKENS, k=length), EOS),
            tuple(random.choices(TOKENS, k=forced)),
            decoding,
        )
        engine.join({"this": prompt})
        done: dict[Hashable, Answer] = {}
        while not done:
            done = engine.step()
        assert engine.active == 0
        assert_equal(done["this"], expected(prompt), prompt)


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 10**9), st.integers(8, 24))
def test_no_schedule_changes_an_answer(
    writer_engine: OrtModel,
    expected: Expected,
    seed: int,
    rows: int,
) -> None:
    """Prompts of all kinds join whenever they fit, and some leave."""
    random = Random(seed)
    engine = OrtEngine(writer_engine, rows=rows)
    waiting = {number: random_prompt(random) for number in range(10)}
    asked = dict(waiting)
    finished: dict[Hashable, Answer] = {}
    left: set[Hashable] = set()
    while waiting or engine.active:
        for number in random.sample(sorted(waiting), len(waiting)):
            if waiting[number].rows <= engine.rows - engine.active and random.random() < 0.4:
                engine.join({number: waiting.pop(number)})
        finished |= engine.step()
        under_way = set(asked) - set(waiting) - set(finished) - left
        if under_way and random.random() < 0.05:
            leaving = random.choice(sorted(under_way, key=str))
            engine.leave([leaving])
            left.add(leaving)
    assert set(finished) | left == set(asked)
    for key, answer in finished.items():
        prompt = asked[int(str(key))]
        assert_equal(answer, expected(prompt), prompt)
