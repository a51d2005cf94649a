"""Write the bundled model in fp16, for an image whose engine runs on a GPU.

The checkpoint is converted without torch. Name, version, formats, limits and calibration are those
of the shipped int8 bundle, and nearly all answers to its reference questions must be its answers.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from engine.bundle import MANIFEST, REFERENCE, fingerprint, load_manifest
from engine.contracts import Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.assembly import CARD
from model_export.card import write_card
from model_export.convert import convert

_LEAST_EQUAL = 0.9  # int8 sometimes takes another token where two are right
_ROWS = 16


def main(shipped: Path, checkpoint: Path, out: Path) -> None:
    """Raises `SystemExit` with one line if too few answers are those of `shipped`."""
    of = load_manifest(shipped)
    manifest = convert(
        checkpoint, out, precision="fp16", name=of.name, version=of.version, limits=of.limits
    )
    manifest = replace(
        manifest,
        prompt_format=of.prompt_format,
        target_format=of.target_format,
        calibration=of.calibration,
    )
    cases = json.loads((shipped / REFERENCE).read_text(encoding="utf-8"))
    engine = OrtEngine(OrtModel(out, manifest, threads=1, provider="cpu"), rows=_ROWS)
    answers = generate(engine, [Prompt(tuple(case["source"])) for case in cases])
    equal = sum(
        list(answer.best.tokens) == case["tokens"]
        for answer, case in zip(answers, cases, strict=True)
    )
    print(f"{out}: {equal} of {len(cases)} answers are those of {shipped}")
    if equal < _LEAST_EQUAL * len(cases):
        raise SystemExit(f"error: {out}: expected at least {_LEAST_EQUAL:.0%}")
    (out / CARD).write_text(write_card(manifest), encoding="utf-8")
    manifest = replace(manifest, files={**manifest.files, CARD: fingerprint(out / CARD)})
    (out / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
