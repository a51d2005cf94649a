"""The results as a table, as JSON, and as the one line that ends a run. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.servers.comparison import Results
from bench.servers.entries import OURS
from bench.servers.figures import Figures

_QUIET = 0.05  # of the cores; with more, neighbours had a part in the figures


@dataclass(frozen=True)
class Run:
    """One comparison and the conditions it ran under."""

    machine: str
    commit: str | None
    command: str
    rounds: int
    turn_s: float
    versions: Mapping[str, str]
    results: Results

    @property
    def others_share(self) -> float:
        """Median share of the cores that was used by what is no part of the comparison."""
        return statistics.median(self.results.others_share or [0.0])


def line(run: Run) -> dict[str, Any]:
    """What the last line of the output says."""
    shown = ("per_s", "p50_ms", "p99_ms", "cpu_ms", "memory_mb", "failed")
    return {
        "machine": run.machine,
        "commit": run.commit,
        "others_share": round(run.others_share, 3),
        "scenarios": {
            name: {label: {key: one.shown()[key] for key in shown} for label, one in found.items()}
            for name, found in run.results.scenarios.items()
        },
        "ours_by": {name: ratios(found) for name, found in run.results.scenarios.items()},
    }


def details(run: Run) -> dict[str, Any]:
    """Everything that was found, for a file."""
    results = run.results
    return {
        **line(run),
        "command": run.command,
        "rounds": run.rounds,
        "turn_s": run.turn_s,
        "versions": dict(run.versions),
        "settings": results.settings,
        "trials": results.trials,
        "excluded": results.excluded,
        "bodies_checked": results.checked,
        "waiting_share": round(max(results.waiting_share, default=0.0), 4),
        "others_share_by_turn": [round(share, 3) for share in results.others_share],
        "figures": {
            name: {label: one.shown() for label, one in found.items()}
            for name, found in results.scenarios.items()
        },
    }


def ratios(found: Mapping[str, Figures]) -> dict[str, float]:
    """Our questions/s by each other's."""
    ours = found.get(OURS)
    return {
        label: round(ours.per_s / one.per_s, 2)
        for label, one in found.items()
        if ours is not None and label != OURS and one.per_s
    }


def tables(run: Run) -> str:
    """Markdown: the conditions, and a table a scenario."""
    results = run.results
    parts = [
        f"{run.machine}; commit {run.commit}; medians of {run.rounds} turns of {run.turn_s:g} s.",
        f"`{run.command}`",
        "; ".join(f"{label}: {version}" for label, version in run.versions.items()),
        "; ".join(f"{label}: {shown}" for label, shown in results.settings.items()),
        f"Other programs used {100 * run.others_share:.0f}% of the cores (median over turns), "
        f"servers that waited at most {100 * max(results.waiting_share, default=0.0):.1f}% of one; "
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
    rows = [head, ["---"] * len(head)]
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
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
