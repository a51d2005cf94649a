"""What an engine's process must know to begin; passes through its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class EnginePlan:
    model: Path  # a bundle's folder
    provider: str  # auto, cpu or cuda
    threads: int  # for the arithmetic of one call
    rows: int
    tokens: int  # of prompts encoded together
    kernels: str = "auto"  # the level of a CPU's, one of `engine.kernels.CHOICES`
    log_format: str = "text"  # as the service's own

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> EnginePlan:
        raw = json.loads(text)
        return cls(**{**raw, "model": Path(raw["model"])})
