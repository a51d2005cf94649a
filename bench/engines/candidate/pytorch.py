"""transformers' `generate` on PyTorch: greedy, with its key-value cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from transformers import EncoderDecoderCache, StaticCache, T5ForConditionalGeneration

from bench.engines.candidate.rows import Generate, Rows
from model_export.greedy import greedy

_CACHES = 8  # static ones that are kept, each for one number of rows and one length


def load(
    checkpoint: Path,
    threads: int,
    max_new_tokens: int,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
) -> Generate:
    """Return a function that answers one batch.

    `compiled` gives it a static cache, for which transformers compiles the decoding step.
    """
    torch.set_num_threads(threads)
    model = load_model(checkpoint, device, dtype)
    static_cache = static_caches(model)

    @torch.inference_mode()
    def generate(sources: Rows, steps: int = max_new_tokens) -> Rows:
        reused = static_cache(len(sources), max(map(len, sources)), steps) if compiled else None
        if reused is not None:
            reused.reset()
        return greedy(model, sources, max_new_tokens=steps, cache=reused)

    return generate


def load_model(checkpoint: Path, device: str, dtype: str) -> T5ForConditionalGeneration:
    kind = getattr(torch, dtype)
    return T5ForConditionalGeneration.from_pretrained(checkpoint, dtype=kind).eval().to(device)


def static_caches(
    model: T5ForConditionalGeneration,
) -> Callable[[int, int, int], EncoderDecoderCache]:
    """Return a function from rows, source length and steps to their cache.

    It returns the same cache each time: the captured graph of a compiled step reads its addresses.
    """

    @lru_cache(maxsize=_CACHES)
    def static_cache(rows: int, source_length: int, steps: int) -> EncoderDecoderCache:
        lengths = steps + 1, source_length
        return EncoderDecoderCache(
            *(StaticCache(model.decoder.config, max_cache_len=length) for length in lengths)
        )

    return static_cache
