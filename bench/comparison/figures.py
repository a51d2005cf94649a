"""Figures of one candidate in one scenario, and their medians over rounds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar


@dataclass(frozen=True)
class Figures:
    """Throughput in questions/s, and latency."""

    per_s: float
    p50_ms: float
    p99_ms: float

    def shown(self) -> dict[str, float]:
        """Return the figures that were measured, rounded."""
        return {name: round(value, 4) for name, value in asdict(self).items() if value is not None}


FiguresT = TypeVar("FiguresT", bound=Figures)


def medians(rounds: Sequence[FiguresT]) -> FiguresT:
    """Return the median of each figure, so that one disturbed round does not count."""
    found: dict[str, Any] = {}
    for field in fields(rounds[0]):
        values = [getattr(one, field.name) for one in rounds]
        measured = [value for value in values if value is not None]
        found[field.name] = statistics.median(measured) if measured else None
    return type(rounds[0])(**found)
