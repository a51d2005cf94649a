"""CTranslate2 and optimum, in the environment of the baselines."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from bench.cuda.agreement import Scored
from bench.cuda.measure.candidate import Rows, batches
from bench.engines.candidate.rows import Generate


class Baseline:
    """Implement `Candidate` with a function that answers one batch."""

    def __init__(self, generate: Generate, *packages: str) -> None:
        self._generate = generate
        self._packages = packages

    def answer(self, sources: Rows, new_tokens: int, rows: int) -> Rows:
        answers: Rows = []
        for batch in batches(sources, rows):
            answers += self._generate(batch, new_tokens)
        return answers

    def scored(self, sources: Rows, new_tokens: int) -> list[Scored]:
        return [Scored(row) for row in self.answer(sources, new_tokens, len(sources))]

    def facts(self) -> dict[str, Any]:
        return {"versions": {package: version(package) for package in self._packages}}
