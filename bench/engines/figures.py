"""From times to figures: percentiles, medians over rounds. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Figures:
    """One scenario for one engine. `per_s` counts questions; latencies are of one batch call, or of
    one question of a stream from its intended arrival. `single_ms` (streams below saturation): the
    median of the same engine for one question with nothing else to do.
    """

    per_s: float
    p50_ms: float
    p99_ms: float
    single_ms: float | None = None

    def shown(self) -> dict[str, float]:
        """Rounded, without what was not measured."""
        return {name: round(value, 3) for name, value in asdict(self).items() if value is not None}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0 to 1) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def figures(
    latencies_s: Sequence[float], questions: int, wall_s: float, single_s: float | None = None
) -> Figures:
    """Of one round: `questions` answered in `wall_s`."""
    return Figures(
        per_s=questions / wall_s,
        p50_ms=1000 * percentile(latencies_s, 0.5),
        p99_ms=1000 * percentile(latencies_s, 0.99),
        single_ms=None if single_s is None else 1000 * single_s,
    )


def over_rounds(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure: one disturbed round does not count."""
    singles_ms = [one.single_ms for one in rounds if one.single_ms is not None]
    return Figures(
        per_s=statistics.median(one.per_s for one in rounds),
        p50_ms=statistics.median(one.p50_ms for one in rounds),
        p99_ms=statistics.median(one.p99_ms for one in rounds),
        single_ms=statistics.median(singles_ms) if singles_ms else None,
    )
