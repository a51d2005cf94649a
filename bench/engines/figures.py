"""Turn the times of a round of engines into figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.comparison import figures as comparison
from loadtest.figures import percentile


@dataclass(frozen=True)
class Figures(comparison.Figures):
    """Latencies are of one batch call, or of one question of a stream from its intended arrival.

    `single_ms` (streams below saturation) is the unloaded latency: the median of questions that
    the same engine answers alone.
    """

    single_ms: float | None = None


def figures(
    latencies_s: Sequence[float], questions: int, wall_s: float, single_s: float | None = None
) -> Figures:
    """Return the figures of one round, in which `questions` were answered in `wall_s`."""
    return Figures(
        per_s=questions / wall_s,
        p50_ms=1000 * percentile(latencies_s, 0.5),
        p99_ms=1000 * percentile(latencies_s, 0.99),
        single_ms=None if single_s is None else 1000 * single_s,
    )
