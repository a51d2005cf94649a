"""Turn the answers of a turn of servers into figures. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.comparison import figures as comparison
from bench.servers.load import Answers
from loadtest.figures import percentile

_OK = 200


@dataclass(frozen=True)
class Figures(comparison.Figures):
    """The figures of one turn, or medians over turns. NaN where nothing was answered."""

    cpu_ms: float  # processor time of all the server's processes, for each question
    memory_mb: float
    failed: float  # share that was not answered with 200
    generator_us: float  # processor time of the load generator, for each question


@dataclass(frozen=True)
class Cost:
    """Processor seconds of server and load generator in a turn, and the server's memory at its
    end.
    """

    server_s: float
    generator_s: float
    memory_mb: float


def figures(answers: Answers, cost: Cost, *, lead_s: float, end_s: float) -> Figures:
    """Return the figures of one turn.

    Throughput counts answers that came from `lead_s` to `end_s`, and latency questions that were
    due then: the first moments of a load differ from the rest.
    """
    everything = list(zip(answers.due_s, answers.done_s, answers.statuses, strict=True))
    good = [(due, done) for due, done, status in everything if status == _OK]
    came = sum(lead_s <= done < end_s for _, done in good)
    latencies = sorted(1000 * (done - due) for due, done in good if lead_s <= due < end_s)
    count = len(everything)
    return Figures(
        per_s=came / (end_s - lead_s),
        p50_ms=percentile(latencies, 0.5) if latencies else math.nan,
        p99_ms=percentile(latencies, 0.99) if latencies else math.nan,
        cpu_ms=1000 * cost.server_s / count if count else math.nan,
        memory_mb=cost.memory_mb,
        failed=(count - len(good)) / count if count else 1.0,
        generator_us=1e6 * cost.generator_s / count if count else math.nan,
    )


def over_rounds(turns: Sequence[Figures]) -> Figures:
    """Return the median of each figure, and the worst share of failures."""
    return replace(comparison.medians(turns), failed=max(turn.failed for turn in turns))
