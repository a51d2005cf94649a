"""Samples: their distribution, and that a seed gives the same text in any company."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig, LogitsProcessorList, T5ForConditionalGeneration

from engine.contracts import Answer, Decoding, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.sampling import choose, uniforms

EOS = 1
SOURCE = (20, 30, 40, EOS)
SAMPLES = 16  # rows of a prompt
PROMPTS = 125  # of each setting


@torch.no_grad()
def exact_distribution(
    model: T5ForConditionalGeneration, forced: tuple[int, ...], settings: dict[str, Any]
) -> np.ndarray:
    """The probabilities of the token after `forced`, by transformers' own processors."""
    start = torch.tensor([[0, *forced]])
    logits = model(torch.tensor([SOURCE]), decoder_input_ids=start).logits[:, -1]
    config = GenerationConfig(**{"top_k": 0, **settings}, do_sample=True, eos_token_id=EOS)
    config._eos_token_tensor = torch.tensor([EOS])
    processors: LogitsProcessorList = model._get_logits_processor(
        config, input_ids_seq_length=start.shape[1], encoder_input_ids=start
    )
    exact: np.ndarray = processors(start, logits)[0].double().softmax(-1).numpy()
    return exact


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 3.0},
        {"temperature": 4.0, "top_k": 12},
        {"temperature": 6.0, "top_p": 0.8},
        {"temperature": 30.0, "top_p": 0.97},  # more tokens than are ranked at first
        {"temperature": 5.0, "min_p": 0.1},
        {"temperature": 4.0, "top_k": 30, "top_p": 0.9, "min_p": 0.02},
        {"temperature": 3.0, "repetition_penalty": 1.5, "no_repeat_ngram_size": 1},
    ],
    ids=str,
)
def test_samples_have_the_exact_distribution(
    writer_engine: OrtModel, writer_torch: T5ForConditionalGeneration, settings: dict[str, Any]
) -> None:
    """Pearson's chi-square over 2,000 samples, at a level of one in a million."""
    forced = (50, 60)
    prompts = [
        Prompt(
            SOURCE,
            forced,
            Decoding(
                do_sample=True,
                seed=seed,
                num_return_sequences=SAMPLES,
                max_new_tokens=1,
                **settings,
            ),
        )
        for seed in range(PROMPTS)
    ]
    answers = generate(OrtEngine(writer_engine, rows=64), prompts)
    drawn = Counter(
        hypothesis.tokens[2] if len(hypothesis.tokens) > 2 else EOS
        for answer in answers
        for hypothesis in answer.hypotheses
    )
    exact = exact_distribution(writer_torch, forced, settings)
    count = SAMPLES * PROMPTS
    assert set(drawn) <= set(np.flatnonzero(exact).tolist())
    often = [token for token in range(len(exact)) if exact[token] * count >= 5]
    assert len(often) > 3
    found = [drawn[token] for token in often]
    expected = [exact[token] * count for token in often]
    rest = count - sum(expected)
    if rest > 1:
        found, expected = [*found, count - sum(found)], [*expected, rest]
    statistic = sum((f - e) ** 2 / e for f, e in zip(found, expected, strict=True))
    assert statistic < chi_square_bound(len(found) - 1)


def chi_square_bound(degrees: int) -> float:
    """The value that chi-square exceeds once in about a million (Wilson and Hilferty 1931)."""
    normal = 4.75
    part = 2 / (9 * degrees)
    return degrees * (1 - part + normal * math.sqrt(part)) ** 3


def test_a_seed_gives_the_same_text_in_any_company(writer_engine: OrtModel) -> None:
    random = Random(5)
    settings = [
        Decoding(do_sample=True, seed=seed, temperature=2.0, num_return_sequences=many, top_p=top_p)
        for seed, many, top_p in ((1, 1, 1.0), (2, 3, 0.9), (3, 1, 0.95), (2**64 - 1, 2, 1.0))
    ]
    prompts = {number: Prompt(SOURCE, (), decoding) for number, decoding in enumerate(settings)}
    alone = {
        number: generate(OrtEngine(writer_engine, rows=4), [prompt])[0]
        for number, prompt in prompts.items()
    }
    texts = [tuple(one.tokens) for answer in alone.values() for one in answer.hypotheses]
    assert len(set(texts)) > len(texts) // 2  # seeds and samples differ
    engine = OrtEngine(writer_engine, rows=12)
    waiting: dict[Hashable, Prompt] = dict(prompts) | {
        f"beams {n}": Prompt((30 + n, EOS), (), Decoding(num_beams=2)) for n in range(4)
    }
    finished: dict[Hashable, Answer] = {}
    while waiting or engine.active:
        for key in random.sample(list(waiting), len(waiting)):
            if waiting[key].rows <= engine.rows - engine.active and random.random() < 0.5:
                engine.join({key: waiting.pop(key)})
        finished |= engine.step()
    for number, answer in alone.items():
        found = finished[number].hypotheses
        assert [one.tokens for one in found] == [one.tokens for one in answer.hypotheses]


def test_each_position_and_sample_has_numbers_of_its_own() -> None:
    numbers = uniforms(7, 0, 500)
    assert numbers[:100] == uniforms(7, 0, 100)
    assert len({*numbers, *uniforms(7, 1, 500), *uniforms(8, 0, 500)}) > 1490
    assert all(0 < np.float32(number) < 1 for number in numbers)
    assert abs(np.mean(numbers) - 0.5) < 0.1


def test_a_nucleus_wider_than_what_is_ranked_is_ranked_whole() -> None:
    """If the last of the ranked tokens still belongs to the nucleus, more may follow."""
    flat, nucleus = [0.0] * 10, Decoding(do_sample=True, top_p=0.5)
    assert choose(nucleus, flat, math.log(100), 0.99, width=100) is None
    # Of thirteen equal tokens seven make up a half, and of eleven six.
    assert choose(nucleus, flat, math.log(13), 0.99, width=100) == 6
    assert choose(nucleus, flat, math.log(11), 0.99, width=11) == 5


def test_a_total_that_has_lost_its_digits_is_not_used() -> None:
    """Near a temperature of 0, fp32 rounds it by more than tokens differ."""
    cold = Decoding(do_sample=True, top_p=0.5, temperature=1e-20)
    for total in (1.1e21, 0.9e21):
        assert choose(cold, [10.0, 9.0, 8.0], total, 0.99, width=100) == 0
        assert choose(cold, [10.0] * 4, total, 0.99, width=100) is None
        assert choose(cold, [10.0] * 4, total, 0.99, width=4) == 1


def test_the_whole_vocabulary_as_top_k_is_drawn_from_without_an_order(
    writer_engine: OrtModel,
) -> None:
    """A seed gives the answer that it gives without `top_k`."""

    def answers(top_k: int) -> list[list[int]]:
        prompts = [
            Prompt(SOURCE, (), Decoding(do_sample=True, temperature=3.0, top_k=top_k, seed=seed))
            for seed in range(20)
        ]
        found = generate(OrtEngine(writer_engine, rows=SAMPLES), prompts)
        return [answer.best.tokens for answer in found]

    assert answers(1_000_000) == answers(0) != answers(20)
