"""Draw a run of engines: throughput of every scenario, and latency of the open loops."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.comparison import plot
from bench.engines.comparison import Result
from bench.engines.report import Run


def draw(run: Run, out: Path) -> None:
    """Write a PNG with a row for each workload; logarithmic, because engines differ by factors."""
    count = len(run.workloads)
    figure = plot.canvas(12, 4 * count)
    axes = figure.subplots(count, 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), (name, results) in zip(axes, run.workloads.items(), strict=True):
        closed = {
            scenario: {label: result.figures.per_s for label, result in found.items()}
            for scenario, found in results.scenarios.items()
            if scenario not in results.rates
        }
        plot.bars(left, closed, f"{name}: questions/s (higher is better)", logarithmic=True)
        latencies = _latencies(results.scenarios, results.rates)
        title = f"{name}: latency at a given rate, ms (lower is better)"
        plot.bars(right, latencies, title, logarithmic=True)
    plot.save(figure, run.conditions, out)


def _latencies(
    scenarios: Mapping[str, Mapping[str, Result]], rates: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    groups = {}
    for scenario, rate_per_s in rates.items():
        found = scenarios[scenario]
        name = f"{scenario}\n{rate_per_s:.0f}/s"
        groups[f"{name}, p50"] = {label: one.figures.p50_ms for label, one in found.items()}
        groups[f"{name}, p99"] = {label: one.figures.p99_ms for label, one in found.items()}
    return groups
