"""The parameters of an engine's process, passed on its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class EnginePlan:
    model: Path  # folder of the bundle
    provider: str  # auto, cpu or cuda
    threads: int  # threads for the arithmetic of one call
    rows: int
    tokens: int  # limit of the prompts encoded together
    kernels: str = "auto"  # level of the CPU kernels, one of `engine.kernels.CHOICES`
    log_format: str = "text"  # the service's

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> EnginePlan:
        raw = json.loads(text)
        return cls(**{**raw, "model": Path(raw["model"])})
