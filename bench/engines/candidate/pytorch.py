"""transformers' `generate` on PyTorch: greedy, with its key-value cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import DynamicCache, EncoderDecoderCache, StaticCache, T5ForConditionalGeneration

from bench.engines.candidate.rows import Rows, padded, until_end


def load(
    checkpoint: Path,
    threads: int,
    max_new_tokens: int,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    compiled: bool = False,
) -> Callable[[Rows], Rows]:
    """`compiled`: with a static cache, for which transformers compiles the decoding step."""
    torch.set_num_threads(threads)
    kind = getattr(torch, dtype)
    model = T5ForConditionalGeneration.from_pretrained(checkpoint, dtype=kind).eval().to(device)
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    # Asked for, it would cost time at every step; the answers are checked to be the same without.
    model.generation_config.suppress_tokens = None

    @torch.inference_mode()
    def generate(sources: Rows) -> Rows:
        ids, mask = padded(sources, pad)
        rows = model.generate(
            torch.tensor(ids, device=device),
            attention_mask=torch.tensor(mask, device=device),
            do_sample=False,
            max_new_tokens=max_new_tokens,
            past_key_values=cache(len(ids[0])),
        )
        return until_end(rows[:, 1:].tolist(), end)

    def cache(source_length: int) -> EncoderDecoderCache:
        """Our own: transformers sizes the default one by the number of encoder layers."""
        if not compiled:
            return EncoderDecoderCache(DynamicCache(), DynamicCache())
        lengths = max_new_tokens + 1, source_length
        return EncoderDecoderCache(
            *(StaticCache(model.decoder.config, max_cache_len=length) for length in lengths)
        )

    return generate
