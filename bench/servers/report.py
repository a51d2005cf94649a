"""Report a run of the comparison of servers: tables, JSON, and the line that ends it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.comparison import report
from bench.comparison.report import Conditions
from bench.servers.comparison import Results
from bench.servers.entries import OURS
from bench.servers.figures import Figures

_QUIET = 0.05  # share of the cores; above it other programs distort the figures
_SHOWN = ("per_s", "p50_ms", "p99_ms", "cpu_ms", "memory_mb", "failed")


@dataclass(frozen=True)
class Run:
    """The results of a run of turns of `turn_s` each."""

    conditions: Conditions
    turn_s: float
    versions: Mapping[str, str]
    results: Results

    @property
    def others_share(self) -> float:
        """Return the median share of the cores that other programs used."""
        return statistics.median(self.results.others_share or [0.0])


def line(run: Run) -> dict[str, Any]:
    """Return the last line of the output."""
    scenarios = run.results.scenarios
    return {
        **report.line(run.conditions, scenarios, _SHOWN),
        "others_share": round(run.others_share, 3),
        "ours_by": {name: ratios(found) for name, found in scenarios.items()},
    }


def details(run: Run) -> dict[str, Any]:
    """Return all results, for a file."""
    results = run.results
    return {
        **line(run),
        "command": run.conditions.command,
        "rounds": run.conditions.rounds,
        "turn_s": run.turn_s,
        "versions": dict(run.versions),
        "settings": results.settings,
        "trials": results.trials,
        "excluded": results.excluded,
        "bodies_checked": results.checked,
        "waiting_share": round(results.most_waiting, 4),
        "others_share_by_turn": [round(share, 3) for share in results.others_share],
        "figures": {
            name: {label: one.shown() for label, one in found.items()}
            for name, found in results.scenarios.items()
        },
    }


def ratios(found: Mapping[str, Figures]) -> dict[str, float]:
    """Return our questions/s divided by those of each baseline."""
    ours = found.get(OURS)
    return {
        label: round(ours.per_s / one.per_s, 2)
        for label, one in found.items()
        if ours is not None and label != OURS and one.per_s
    }


def tables(run: Run) -> str:
    """Return Markdown: the conditions, and a table for each scenario."""
    conditions, results = run.conditions, run.results
    parts = [
        f"{conditions.machine}; commit {conditions.commit}; "
        f"medians of {conditions.rounds} turns of {run.turn_s:g} s.",
        f"`{conditions.command}`",
        "; ".join(f"{label}: {version}" for label, version in run.versions.items()),
        "; ".join(f"{label}: {shown}" for label, shown in results.settings.items()),
        f"Other programs used {100 * run.others_share:.0f}% of the cores (median over turns), "
        f"servers that waited at most {100 * results.most_waiting:.1f}% of one; "
        f"bodies compared: {sum(results.checked.values())}, all as expected.",
    ]
    if run.others_share > _QUIET:
        parts.append("The machine was busy: the ratios may be near the truth, the figures are not.")
    parts += [f"{label} is left out: {reason}" for label, reason in results.excluded.items()]
    parts += [f"**{name}**\n\n{_table(found)}" for name, found in results.scenarios.items()]
    return "\n\n".join(parts) + "\n"


def _table(found: Mapping[str, Figures]) -> str:
    head = ["server", "questions/s", "ours by it", "p50 ms", "p99 ms", "CPU ms a question"]
    head += ["memory MB", "failed", "generator us"]
    by = ratios(found)
    rows = []
    for label, one in found.items():
        rows.append([
            label,
            f"{one.per_s:.1f}",
            f"{by[label]:.2f}" if label in by else "",
            f"{one.p50_ms:.1f}",
            f"{one.p99_ms:.1f}",
            f"{one.cpu_ms:.2f}",
            f"{one.memory_mb:.0f}",
            f"{100 * one.failed:.1f}%",
            f"{one.generator_us:.0f}",
        ])  # fmt: skip
    return report.table(head, rows)
