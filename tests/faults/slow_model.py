"""A bundle of random weights so large that its engine, and not HTTP, is what a load fills."""

from __future__ import annotations

from pathlib import Path

import torch

from engine.bundle import Limits
from model_export.assembly import Identity, sources_of
from model_export.bundle import write_bundle
from tests.faults.caller import questions
from training.model import Preset, SmallT5, save_plain
from training.vocabulary import Vocabulary

_PRESET = Preset(d_model=512, d_ff=2048, encoder_layers=2, decoder_layers=6, heads=8)
_TOKENS = 8  # of every answer: random weights come to no end


def slow_bundle(folder: Path) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    checkpoint = folder / "checkpoint"
    save_plain(SmallT5(_PRESET, vocabulary).plain(), vocabulary.tokenizer(), checkpoint)
    source = questions()
    asked = [next(source) for _ in range(4)]
    identity = Identity("slow", "0.0.1", "digits", "work", Limits(200, _TOKENS), {"seed": 0})
    sources = sources_of(asked, "digits", checkpoint)
    write_bundle(checkpoint, folder / "bundle", identity, sources, lambda _: "card")
    return folder / "bundle"
