"""What is known of one server in one scenario. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from bench.engines.figures import percentile
from bench.servers.load import Answers

_OK = 200


@dataclass(frozen=True)
class Figures:
    """Of one turn, or medians over turns. NaN where nothing was answered."""

    per_s: float  # answers
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # processor time of all the server's processes, for each question
    memory_mb: float
    failed: float  # share that was not answered with 200
    generator_us: float  # processor time of the load itself, for each question

    def shown(self) -> dict[str, float]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Cost:
    """Of one turn: processor seconds of server and generator; the server's memory at its end."""

    server_s: float
    generator_s: float
    memory_mb: float


def figures(answers: Answers, cost: Cost, *, lead_s: float, end_s: float) -> Figures:
    """Answers that came from `lead_s` to `end_s` count for throughput, and what was due then for
    latency; the first moments of a load are like no others.
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
    """Medians; of failures the worst."""
    medians = {
        field.name: statistics.median(getattr(turn, field.name) for turn in turns)
        for field in fields(Figures)
    }
    return Figures(**medians | {"failed": max(turn.failed for turn in turns)})
