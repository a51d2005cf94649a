"""Greedy decoding with transformers' `generate`: the reference that other engines are compared to.

Export, benchmarks and evaluation decode with this one function. It imports nothing else of the
project.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import (
    Cache,
    DynamicCache,
    EncoderDecoderCache,
    LogitsProcessorList,
    PreTrainedModel,
)

# Called at each step with the ids so far (rows, steps) and the scores (rows, tokens); returns the
# scores. It runs after the model's own processors, so suppressed tokens have no probability.
Observer = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def greedy(
    model: PreTrainedModel,
    sources: Sequence[Sequence[int]],
    *,
    max_new_tokens: int | None = None,
    cache: Cache | None = None,
    observer: Observer | None = None,
) -> list[list[int]]:
    """Return the tokens that `model` writes for each of `sources`, as one batch.

    Sources are token ids with their end token. Answers have neither start, end nor padding tokens.
    `max_new_tokens` and the cache default to the model's generation configuration and to a cache
    that grows.
    """
    pad, end = model.generation_config.pad_token_id, model.generation_config.eos_token_id
    length = max(map(len, sources))
    ids = [[*source, *[pad] * (length - len(source))] for source in sources]
    mask = [[1] * len(source) + [0] * (length - len(source)) for source in sources]
    rows = model.generate(
        torch.tensor(ids, device=model.device),
        attention_mask=torch.tensor(mask, device=model.device),
        past_key_values=_growing_cache() if cache is None else cache,
        logits_processor=LogitsProcessorList([observer] if observer else []),
        do_sample=False,
        **({} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}),
    )
    tokens = [row[1:] for row in rows.tolist()]
    return [row[: row.index(end)] if end in row else row for row in tokens]


def _growing_cache() -> EncoderDecoderCache:
    """Return an empty cache: the default of transformers has as many layers as the encoder."""
    return EncoderDecoderCache(DynamicCache(), DynamicCache())
