"""Answers report more than their tokens, and end at stop texts."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace

import pytest
import torch
from transformers import T5ForConditionalGeneration

from engine.contracts import Answer, Decoding, FinishReason, Hypothesis, Progress, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel

EOS = 1
SOURCE = (20, 30, 40, EOS)


def best(model: OrtModel, decoding: Decoding, forced: tuple[int, ...] = ()) -> Hypothesis:
    prompt = Prompt(SOURCE, forced, decoding)
    return generate(OrtEngine(model, rows=8), [prompt])[0].best


@torch.no_grad()
def logprobs_of(model: T5ForConditionalGeneration, tokens: list[int]) -> torch.Tensor:
    """Log-probabilities (positions, tokens) of the model itself along an answer."""
    start = torch.tensor([[0, *tokens]])
    logits: torch.Tensor = model(torch.tensor([SOURCE]), decoder_input_ids=start).logits[0]
    return logits.log_softmax(-1)


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(top_logprobs=5),
        Decoding(top_logprobs=2, repetition_penalty=2.0, no_repeat_ngram_size=1),
        Decoding(top_logprobs=3, do_sample=True, seed=4, temperature=3.0),
        Decoding(top_logprobs=3, do_sample=True, seed=4, temperature=3.0, top_k=20),
        Decoding(top_logprobs=4, num_beams=4),
        Decoding(top_logprobs=5, num_beams=2, repetition_penalty=1.5),
    ],
    ids=str,
)
@pytest.mark.parametrize("forced", [(), (50, 60)])
def test_logprobs_are_the_models_own(
    writer_engine: OrtModel,
    writer_torch: T5ForConditionalGeneration,
    decoding: Decoding,
    forced: tuple[int, ...],
) -> None:
    found = best(writer_engine, decoding, forced)
    exact = logprobs_of(writer_torch, found.tokens)
    tokens = [*found.tokens, EOS][: len(found.logprobs)]
    count = decoding.top_logprobs
    for position, token in enumerate(tokens):
        logprob = found.logprobs[position]
        if position >= len(forced) or not math.isnan(logprob):
            assert logprob == pytest.approx(float(exact[position, token]), abs=1e-4)
        values, likeliest = exact[position].topk(count)
        alternatives = found.alternatives[position] if count else []
        assert [one for one, _ in alternatives] == likeliest.tolist()
        reported = [logprob for _, logprob in alternatives]
        assert reported == pytest.approx(values.tolist(), abs=1e-4)
        first, second = exact[position].topk(2).indices.tolist()
        assert found.runners_up[position] == (second if token == first else first)


def test_without_them_no_alternatives_are_reported(writer_engine: OrtModel) -> None:
    assert best(writer_engine, Decoding(num_beams=2)).alternatives == []


def test_an_answer_stops_at_a_text_that_spans_tokens(writer_engine: OrtModel) -> None:
    whole = best(writer_engine, Decoding(min_new_tokens=12))
    text = writer_engine.decode(whole.tokens)
    stop = text[3:5]
    first = text.index(stop)
    found = best(writer_engine, Decoding(min_new_tokens=12, stop=("never", stop)))
    assert found.finish_reason is FinishReason.STOP
    assert writer_engine.decode(found.tokens) == text[: first + 2]
    assert best(writer_engine, Decoding(min_new_tokens=12, stop=("never",))) == whole


def test_beams_end_at_a_text_to_stop_at(writer_engine: OrtModel) -> None:
    settings = Decoding(num_beams=4, min_new_tokens=12, num_return_sequences=4)
    whole = best(writer_engine, settings)
    stop = writer_engine.decode(whole.tokens)[2:4]
    prompt = Prompt(SOURCE, (), Decoding(num_beams=4, min_new_tokens=12, stop=(stop,)))
    found = generate(OrtEngine(writer_engine, rows=4), [prompt])[0].best
    text = writer_engine.decode(found.tokens)
    assert (found.finish_reason is FinishReason.STOP) == (stop in text)
    assert stop not in text[:-1]


def test_a_prefix_does_not_stop_its_answer(writer_engine: OrtModel) -> None:
    forced = tuple(best(writer_engine, Decoding(min_new_tokens=12)).tokens[:3])
    prefix = writer_engine.decode(forced)
    found = best(writer_engine, Decoding(min_new_tokens=5, stop=(prefix[0],)), forced)
    assert len(found.tokens) > 3


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(top_logprobs=3),
        Decoding(do_sample=True, seed=4, temperature=3.0),
        Decoding(do_sample=True, seed=4, top_k=5, top_logprobs=2),
    ],
    ids=str,
)
@pytest.mark.parametrize("forced", [(), (50, 60)])
def test_what_is_decoded_so_far_is_reported_as_at_the_end(
    writer_engine: OrtModel, decoding: Decoding, forced: tuple[int, ...]
) -> None:
    engine = OrtEngine(writer_engine, rows=2)
    engine.join({"other": Prompt((60, EOS)), "this": Prompt(SOURCE, forced, decoding)})
    read = Progress([], [], [])
    finished: dict[Hashable, Answer] = {}
    while "this" not in finished:
        finished |= engine.step()
        if "this" not in finished:
            new = engine.written("this", len(read.tokens))
            assert len(new.tokens) == 1
            read = Progress(
                read.tokens + new.tokens,
                read.logprobs + new.logprobs,
                read.alternatives + new.alternatives,
            )
    whole, count = finished["this"].best, len(read.tokens)
    assert count == len(whole.logprobs) - 1
    assert read.tokens == whole.tokens[:count]
    assert read.logprobs == pytest.approx(whole.logprobs[:count], abs=0, nan_ok=True)
    assert read.alternatives == whole.alternatives[:count]


@pytest.mark.parametrize(
    "decoding", [Decoding(num_beams=2), Decoding(do_sample=True, seed=1, num_return_sequences=2)]
)
def test_nothing_is_certain_of_several_rows_before_their_end(
    writer_engine: OrtModel, decoding: Decoding
) -> None:
    engine = OrtEngine(writer_engine, rows=2)
    engine.join({"this": Prompt(SOURCE, (), replace(decoding, min_new_tokens=5))})
    engine.step()
    assert engine.written("this", 0) == Progress([], [], [])
