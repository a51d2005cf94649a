"""Decode with transformers' `generate` under any settings: what the engine must equal in fp32.

It imports of the project only the types of the settings and the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedModel

from engine.contracts import Decoding, Prompt


class Reference(NamedTuple):
    """An answer of transformers; `score` is None but for beams."""

    tokens: list[int]
    score: float | None


@torch.no_grad()
def reference_answers(
    model: PreTrainedModel, prompts: Sequence[Prompt], *, most: int
) -> list[list[Reference]]:
    """Return the answers of `model` to prompts of the same settings, of up to `most` tokens.

    Texts whose forced tokens differ in number cannot share a batch: give them one by one.
    """
    (decoding,) = {prompt.decoding for prompt in prompts}
    (forced,) = {len(prompt.forced) for prompt in prompts}
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    length = max(len(prompt.source) for prompt in prompts)
    ids = [[*prompt.source, *[pad] * (length - len(prompt.source))] for prompt in prompts]
    mask = [[int(place < len(prompt.source)) for place in range(length)] for prompt in prompts]
    start = [[model.config.decoder_start_token_id, *prompt.forced] for prompt in prompts]
    wanted = decoding.max_new_tokens or most
    found = model.generate(
        torch.tensor(ids),
        attention_mask=torch.tensor(mask),
        decoder_input_ids=torch.tensor(start),
        past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
        max_new_tokens=min(wanted, most - forced),
        return_dict_in_generate=True,
        output_scores=True,
        **_arguments(decoding, end),
    )
    rows = [row[1:] for row in found.sequences.tolist()]
    tokens = [row[: row.index(end, forced)] if end in row[forced:] else row for row in rows]
    scores = found.sequences_scores.tolist() if decoding.num_beams > 1 else [None] * len(rows)
    answers = [Reference(*pair) for pair in zip(tokens, scores, strict=True)]
    each = decoding.num_return_sequences
    return [answers[first : first + each] for first in range(0, len(answers), each)]


def _arguments(decoding: Decoding, end: int) -> dict[str, Any]:
    """Return the settings as `generate` takes them; sampling is compared in its distribution."""
    assert not decoding.do_sample, "samples cannot be equal"
    arguments: dict[str, Any] = {
        "do_sample": False,
        "num_beams": decoding.num_beams,
        "num_return_sequences": decoding.num_return_sequences,
        "repetition_penalty": decoding.repetition_penalty,
        "no_repeat_ngram_size": decoding.no_repeat_ngram_size,
        "pad_token_id": end,  # where an answer is over; the padding token may be an answer's own
    }
    if decoding.num_beams > 1:
        arguments |= {
            "length_penalty": decoding.length_penalty,
            "early_stopping": decoding.early_stopping,
        }
    if decoding.min_new_tokens:
        arguments["min_new_tokens"] = decoding.min_new_tokens
    if decoding.bad_words:
        arguments["bad_words_ids"] = [list(words) for words in decoding.bad_words]
    if decoding.logit_bias:
        arguments["sequence_bias"] = [[[token], bias] for token, bias in decoding.logit_bias]
    return arguments
