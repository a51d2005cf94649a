"""A tiny T5 of flat distributions, whose answers differ with every setting and end at many lengths.

Its tokens are characters.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import T5ForConditionalGeneration

from engine.bundle import Limits
from model_export.assembly import Identity, texts_of
from model_export.bundle import write_bundle
from tests.training.flan import characters, write_flan

COLUMNS = 12  # the most tokens of an answer
_SIZE = 103  # of the tokenizer


def write_writer(folder: Path) -> None:
    """Write its `checkpoint` and its `bundle` in fp32 into `folder`."""
    checkpoint = write_flan(folder / "checkpoint", characters(), _SIZE, num_decoder_layers=2)
    model = T5ForConditionalGeneration.from_pretrained(checkpoint)
    with torch.no_grad():
        model.lm_head.weight *= 8.0  # answers differ, and their ends too
        model.shared.weight *= 2.0
    model.save_pretrained(checkpoint)
    identity = Identity("writer", "1", "none", "text", Limits(64, COLUMNS), {"seed": 0})
    sources = texts_of(["some", "texts to compare on"], checkpoint)
    write_bundle(checkpoint, folder / "bundle", identity, sources, lambda _: "card")
