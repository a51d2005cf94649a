"""Greedy decoding with PyTorch, on a small T5 of random weights."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    EncoderDecoderCache,
    GenerationConfig,
    StaticCache,
    T5Config,
    T5ForConditionalGeneration,
)

from model_export.greedy import greedy

END, STEPS = 1, 6
sources = st.lists(
    st.lists(st.integers(2, 11), max_size=6).map(lambda ids: [*ids, END]), min_size=1, max_size=5
)


@pytest.fixture(scope="module")
def model() -> T5ForConditionalGeneration:
    """One encoder layer and two decoder layers: the default cache of transformers does not fit."""
    torch.manual_seed(7)
    config = T5Config(
        vocab_size=12, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_decoder_layers=2, num_heads=2,
        dropout_rate=0.0, initializer_factor=3.0, pad_token_id=0, eos_token_id=END,
        decoder_start_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    model.generation_config = GenerationConfig(
        pad_token_id=0, eos_token_id=END, decoder_start_token_id=0, max_new_tokens=STEPS
    )
    return model


@given(rows=sources)
@settings(max_examples=10, deadline=None)
def test_a_batch_gives_each_source_its_own_answer(
    model: T5ForConditionalGeneration, rows: list[list[int]]
) -> None:
    assert greedy(model, rows) == [greedy(model, [row])[0] for row in rows]


def test_answers_have_no_special_tokens_and_keep_the_limit(
    model: T5ForConditionalGeneration,
) -> None:
    rows = [[number, END] for number in range(2, 12)]
    answers = greedy(model, rows)
    assert {len(answer) for answer in answers} > {STEPS}  # some end before the limit
    assert all(END not in answer for answer in answers)
    assert greedy(model, rows, max_new_tokens=2) == [answer[:2] for answer in answers]


def test_an_observer_sees_the_scores_of_every_choice(model: T5ForConditionalGeneration) -> None:
    chosen: list[Tensor] = []

    def observe(ids: Tensor, scores: Tensor) -> Tensor:
        chosen.append(scores.argmax(-1))
        return scores

    model.generation_config.suppress_tokens = [5, 6]
    try:
        (answer,) = greedy(model, [[9, 7, END]], observer=observe)
    finally:
        model.generation_config.suppress_tokens = None
    seen = torch.stack(chosen, dim=1).tolist()[0]
    assert seen[: len(answer)] == answer
    assert not {5, 6} & set(seen)


def test_a_given_cache_is_used(model: T5ForConditionalGeneration) -> None:
    lengths = STEPS + 1, 3
    cache = EncoderDecoderCache(
        *(StaticCache(model.decoder.config, max_cache_len=length) for length in lengths)
    )
    rows = [[9, 7, END], [8, END]]
    assert greedy(model, rows, cache=cache) == greedy(model, rows)
    assert int(cache.get_seq_length()) > 0
