"""Report a run of the comparison of engines: tables, JSON, and the line that ends it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.comparison import report
from bench.comparison.report import Conditions
from bench.engines.comparison import Result, Results


@dataclass(frozen=True)
class Run:
    """The results of each workload; `ours` is the label that others are compared with."""

    conditions: Conditions
    ours: str
    workloads: Mapping[str, Results]

    def scenarios(self) -> dict[str, dict[str, Result]]:
        """Return the results by workload/scenario and label."""
        return {
            f"{name}/{scenario}": found
            for name, results in self.workloads.items()
            for scenario, found in results.scenarios.items()
        }


def line(run: Run) -> dict[str, Any]:
    """Return the last line of the output."""
    figures = {
        scenario: {label: result.figures for label, result in found.items()}
        for scenario, found in run.scenarios().items()
    }
    return report.line(run.conditions, figures, ("per_s", "p50_ms", "p99_ms"))


def details(run: Run) -> dict[str, Any]:
    """Return all results, for a file."""
    return {
        "machine": run.conditions.machine,
        "commit": run.conditions.commit,
        "command": run.conditions.command,
        "rounds": run.conditions.rounds,
        "sgemm_gflop_per_s": _sgemm(run),
        "workloads": {
            name: {
                "agreement": results.agreement,
                "excluded": results.excluded,
                "versions": results.versions,
                "arrivals_per_s": results.rates,
                "idle_share": round(results.most_waiting, 4),
            }
            for name, results in run.workloads.items()
        },
        "scenarios": {
            name: {
                label: {
                    **result.figures.shown(),
                    "layout": str(result.layout),
                    "share_of_sgemm": round(result.share, 4),
                }
                for label, result in found.items()
            }
            for name, found in run.scenarios().items()
        },
    }


def tables(run: Run) -> str:
    """Return Markdown: the conditions, agreement and exclusions, and a table for each scenario."""
    conditions, gflop = run.conditions, _sgemm(run)
    versions = {k: v for results in run.workloads.values() for k, v in results.versions.items()}
    parts = [
        f"{conditions.machine}; commit {conditions.commit}; medians of {conditions.rounds} rounds; "
        f"sgemm {gflop['one_core']} GFLOP/s on one core, {gflop['all_cores']} on all.",
        f"`{conditions.command}`",
        "; ".join(f"{label}: {version}" for label, version in versions.items()),
    ]
    if gflop["all_cores"] < gflop["one_core"]:
        parts.append("All cores multiply slower than one: the machine was busy. Keep no figure.")
    for name, results in run.workloads.items():
        agreed = (f"{label} {100 * share:.2f}%" for label, share in results.agreement.items())
        parts.append(f"{name}: answers equal to PyTorch's: {', '.join(agreed)}.")
        parts += [f"{name}: {label} {why}." for label, why in results.excluded.items()]
        parts.append(
            f"{name}: processes that waited used at most "
            f"{100 * results.most_waiting:.1f}% of a core."
        )
        for scenario, found in results.scenarios.items():
            rate = results.rates.get(scenario)
            arrivals = "" if rate is None else f", {rate:.1f} arrivals/s"
            parts.append(f"**{name}/{scenario}**{arrivals}\n\n{_table(found, run.ours)}")
    return "\n\n".join(parts) + "\n"


def _table(results: Mapping[str, Result], ours: str) -> str:
    reference = results.get(ours)
    alone = any(result.figures.single_ms is not None for result in results.values())
    head = ["engine", "workers x threads", "questions/s", "p50 ms", "p99 ms", "of ours", "of sgemm"]
    rows = []
    for label, result in results.items():
        found = result.figures
        ratio = None if reference is None else found.per_s / reference.figures.per_s
        row = [
            label,
            str(result.layout),
            f"{found.per_s:.1f}",
            f"{found.p50_ms:.1f}",
            f"{found.p99_ms:.1f}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{100 * result.share:.1f}%",
        ]
        if found.single_ms is not None:
            row += [f"{found.single_ms:.1f}", f"{found.p99_ms / found.single_ms:.1f}"]
        rows.append(row)
    return report.table([*head, "alone ms", "p99 / alone"] if alone else head, rows)


def _sgemm(run: Run) -> dict[str, float]:
    """Return medians over the run, in GFLOP/s."""
    rates = [rate for results in run.workloads.values() for rate in results.sgemm]
    if not rates:
        return {"one_core": 0.0, "all_cores": 0.0}
    return {
        "one_core": round(statistics.median(rate.one_core for rate in rates) / 1e9, 1),
        "all_cores": round(statistics.median(rate.all_cores for rate in rates) / 1e9, 1),
    }
