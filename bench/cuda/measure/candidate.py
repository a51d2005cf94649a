"""The interface of an engine that is measured. Standard library only."""

from __future__ import annotations

from typing import Any, Protocol

from bench.cuda.agreement import Scored

Rows = list[list[int]]


class Candidate(Protocol):
    """A loaded engine."""

    def answer(self, sources: Rows, new_tokens: int, rows: int) -> object:
        """Answer all sources in at most `new_tokens`, at most `rows` together, on the host."""
        ...

    def scored(self, sources: Rows, new_tokens: int) -> list[Scored]:
        """Answer with what the engine reports of its probabilities."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what the report should say of the engine: versions, device, placement."""
        ...


def batches(sources: Rows, rows: int) -> list[Rows]:
    """Divide sources into batches of at most `rows`."""
    return [sources[start : start + rows] for start in range(0, len(sources), rows)]
