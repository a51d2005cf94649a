"""`python -m bench.cuda.prepare PART SHAPE CACHE`: make one part of a model, unless it is there.

`checkpoint` has random weights, `bundle` is our own in fp16, converted without a proof (parity is
what the comparison checks), and `ctranslate2` runs in the environment of the baselines.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.cuda.models import Model
from service.children import live_below_the_parent

_SOURCE_TOKENS, _NEW_TOKENS = 512, 64


def main(part: str, shape: str, cache: str) -> None:
    live_below_the_parent()
    model = Model(shape, Path(cache))
    model.folder.mkdir(parents=True, exist_ok=True)
    match part:
        case "checkpoint":
            _checkpoint(model)
        case "bundle":
            _bundle(model)
        case "ctranslate2":
            from bench.engines.candidate import ctranslate

            ctranslate.convert(model.checkpoint, model.folder)
        case _:
            raise ValueError(f"unknown part {part!r}: a bug of the comparison")


def _checkpoint(model: Model) -> None:
    if model.checkpoint.exists():
        return
    from bench.engines.random_weights import RANDOM, write_checkpoint

    partial = model.checkpoint.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    write_checkpoint(RANDOM[model.shape], partial)
    partial.rename(model.checkpoint)


def _bundle(model: Model) -> None:
    if model.bundle("fp16").exists():
        return
    from engine.bundle import Limits
    from model_export.convert import convert

    limits = Limits(_SOURCE_TOKENS, _NEW_TOKENS)
    convert(model.checkpoint, model.bundle("fp16"), precision="fp16", limits=limits)


if __name__ == "__main__":
    main(*sys.argv[1:])
