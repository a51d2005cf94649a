"""transformers' `generate` on PyTorch: greedy, with its key-value cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import EncoderDecoderCache, StaticCache, T5ForConditionalGeneration

from bench.engines.candidate.rows import Rows
from model_export.greedy import greedy


def load(
    checkpoint: Path,
    threads: int,
    max_new_tokens: int,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
) -> Callable[[Rows], Rows]:
    """Return a function that answers one batch.

    `compiled` gives it a static cache, for which transformers compiles the decoding step.
    """
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    model = T5ForConditionalGeneration.from_pretrained(checkpoint, dtype=kind).eval().to(device)
    # Suppression costs time at every step; the comparison checks that answers are the same.
    model.generation_config.suppress_tokens = None

    @torch.inference_mode()
    def generate(sources: Rows) -> Rows:
        cache = static_cache(max(map(len, sources))) if compiled else None
        return greedy(model, sources, max_new_tokens=max_new_tokens, cache=cache)

    def static_cache(source_length: int) -> EncoderDecoderCache:
        lengths = max_new_tokens + 1, source_length
        return EncoderDecoderCache(
            *(StaticCache(model.decoder.config, max_cache_len=length) for length in lengths)
        )

    return generate
