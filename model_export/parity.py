"""Do the tokens that the service generates equal PyTorch's greedy tokens?

Both sides run as they ship: PyTorch through `generate`, the bundle through the service's own
engine, each in batches of its own composition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import DynamicCache, EncoderDecoderCache, T5ForConditionalGeneration

from service.contracts import Engine, Tokens
from service.engine.bundle import load_manifest
from service.engine.cpu import available_cpus
from service.engine.ort import OrtEngine

_BATCH = 64


@dataclass(frozen=True)
class Parity:
    """`different` holds the sources whose tokens differ, with PyTorch's and the bundle's."""

    compared: int
    different: list[tuple[Tokens, list[int], list[int]]]


def check(checkpoint: Path, bundle: Path, sources: Sequence[Tokens]) -> Parity:
    """Generate from `sources` (token ids, end token included) on both sides and compare."""
    manifest = load_manifest(bundle)
    engine = OrtEngine(bundle, manifest, threads=available_cpus(), provider="cpu")
    model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    model.generation_config.max_new_tokens = manifest.limits.max_new_tokens
    different = []
    for batch in _batches(sources):
        for source, ours, theirs in zip(
            batch, _generated(engine, batch), torch_tokens(model, batch), strict=True
        ):
            if ours != theirs:
                different.append((source, theirs, ours))
    return Parity(len(sources), different)


def _generated(engine: Engine, batch: Sequence[Tokens]) -> list[list[int]]:
    return engine.generate(batch).rows


@torch.no_grad()
def torch_tokens(model: T5ForConditionalGeneration, batch: Sequence[Tokens]) -> list[list[int]]:
    """PyTorch's greedy tokens for a batch of sources, each without padding and end token."""
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    length = max(map(len, batch))
    ids = torch.tensor([[*source, *[pad] * (length - len(source))] for source in batch])
    mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in batch])
    # A cache of its own: transformers sizes the default one by the number of encoder layers.
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    rows = model.generate(ids, attention_mask=mask, past_key_values=cache, do_sample=False)
    tokens = [row[1:] for row in rows.tolist()]  # without the start token
    return [row[: row.index(end)] if end in row else row for row in tokens]


def _batches(sources: Sequence[Tokens]) -> Iterator[Sequence[Tokens]]:
    for start in range(0, len(sources), _BATCH):
        yield sources[start : start + _BATCH]
