"""`python -m bench.cuda.prepare PART SHAPE CACHE`: make one part of a model, unless it is there.

`checkpoint` has random weights, and `untrained` those with which training begins. `bundle` is our
own in fp16, converted without a proof (parity is what the comparison checks). `ctranslate2` runs in
the environment of the baselines.
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
            _checkpoint(model.shape, model.checkpoint, part)
        case "untrained":
            _checkpoint(model.shape, model.untrained, part)
        case "bundle":
            _bundle(model)
        case "ctranslate2":
            from bench.engines.candidate import ctranslate

            ctranslate.convert(model.checkpoint, model.folder)
        case _:
            raise ValueError(f"unknown part {part!r}: a bug of the comparison")


def _checkpoint(shape: str, folder: Path, part: str) -> None:
    if folder.exists():
        return
    from bench.engines.random_weights import RANDOM, write_checkpoint, write_untrained

    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    write = write_untrained if part == "untrained" else write_checkpoint
    write(RANDOM[shape], partial)
    partial.rename(folder)


def _bundle(model: Model) -> None:
    if model.bundle("fp16").exists():
        return
    from engine.bundle import Limits
    from model_export.convert import convert

    limits = Limits(_SOURCE_TOKENS, _NEW_TOKENS)
    convert(model.checkpoint, model.bundle("fp16"), precision="fp16", limits=limits)


if __name__ == "__main__":
    main(*sys.argv[1:])
