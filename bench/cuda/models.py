"""The models that engines are compared on, and where their files are. Standard library only.

The shapes of FLAN-T5 have random weights. `mini` is the trained model of the repository: random
weights hide some faults (their probabilities are nearly flat), trained ones others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from bench.command import ROOT
from bench.cuda.plan import PARITY_CASE

REAL = "mini"
SHAPES = (REAL, "flan-large", "flan-base", "flan-small", "tiny")
USUAL = (REAL, "flan-large", "flan-base")
_REAL_STEPS = 64


@dataclass(frozen=True)
class Model:
    """The files of one shape below the folder `cache`."""

    shape: str
    cache: Path

    @property
    def folder(self) -> Path:
        return self.cache / self.shape

    @property
    def checkpoint(self) -> Path:
        if self.shape == REAL:
            return ROOT / "models/cybersolve-mini-checkpoint"
        return self.folder / "checkpoint"

    @property
    def untrained(self) -> Path:
        """A checkpoint of the shape from which training can begin."""
        return self.folder / "untrained"

    def bundle(self, precision: str) -> Path:
        return self.folder / f"bundle-{precision}"

    @property
    def vocabulary(self) -> int:
        config = json.loads((self.checkpoint / "config.json").read_text(encoding="utf-8"))
        size: int = config["vocab_size"]
        return size

    def questions(self) -> tuple[list[list[int]], int]:
        """Return the sources that parity is checked on, and the most tokens of an answer."""
        if self.shape == REAL:
            path = ROOT / "models/cybersolve-mini/reference.json"
            cases = json.loads(path.read_text(encoding="utf-8"))
            return [case["source"] for case in cases], _REAL_STEPS
        return PARITY_CASE.sources(self.vocabulary), PARITY_CASE.new_tokens
