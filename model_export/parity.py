"""Greedy tokens from both sides: PyTorch's `generate`, and the engine that the service runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import DynamicCache, EncoderDecoderCache, T5ForConditionalGeneration

from service.contracts import Tokens
from service.engine.bundle import Manifest
from service.engine.cpu import available_cpus
from service.engine.ort import OrtEngine

_BATCH = 64


def engine_tokens(bundle: Path, manifest: Manifest, sources: Sequence[Tokens]) -> list[list[int]]:
    """What the service's engine generates from `sources` (token ids, end token included)."""
    engine = OrtEngine(bundle, manifest, threads=available_cpus(), provider="cpu")
    return _in_batches(lambda batch: engine.generate(batch).rows, sources, "engine")


def torch_tokens(model: T5ForConditionalGeneration, sources: Sequence[Tokens]) -> list[list[int]]:
    """What PyTorch generates from `sources`: rows without padding and end token."""
    return _in_batches(lambda batch: _torch_batch(model, batch), sources, "PyTorch")


@torch.no_grad()
def _torch_batch(model: T5ForConditionalGeneration, batch: Sequence[Tokens]) -> list[list[int]]:
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    length = max(map(len, batch))
    ids = torch.tensor([[*source, *[pad] * (length - len(source))] for source in batch])
    mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in batch])
    # A cache of its own: transformers sizes the default one by the number of encoder layers.
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    rows = model.generate(ids, attention_mask=mask, past_key_values=cache, do_sample=False)
    tokens = [row[1:] for row in rows.tolist()]  # without the start token
    return [row[: row.index(end)] if end in row else row for row in tokens]


def _in_batches(
    generate: Callable[[Sequence[Tokens]], list[list[int]]], sources: Sequence[Tokens], name: str
) -> list[list[int]]:
    rows: list[list[int]] = []
    for start in tqdm(range(0, len(sources), _BATCH), desc=name, unit="batch"):
        rows += generate(sources[start : start + _BATCH])
    return rows
