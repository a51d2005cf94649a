"""Draws a run: throughput of every scenario, and latency of the streams below saturation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.engines.comparison import Result
from bench.engines.report import Run


def draw(run: Run, out: Path) -> None:
    """Write a PNG: a row a workload; logarithmic, since engines differ by factors."""
    count = len(run.workloads)
    figure = Figure(figsize=(12, 4 * count), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(count, 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), (name, results) in zip(axes, run.workloads.items(), strict=True):
        closed = {
            scenario: {label: result.figures.per_s for label, result in found.items()}
            for scenario, found in results.scenarios.items()
            if scenario not in results.rates
        }
        _bars(left, closed)
        left.set_title(f"{name}: questions/s (higher is better)")
        _bars(right, _latencies(results.scenarios, results.rates))
        right.set_title(f"{name}: latency at a given rate, ms (lower is better)")
    figure.suptitle(f"{run.machine}; commit {(run.commit or 'unknown')[:12]}")
    figure.savefig(out, dpi=120)


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


def _bars(axis: Axes, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Groups side by side, in each a bar for every engine."""
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    width = 0.8 / max(1, len(labels))
    for number, label in enumerate(labels):
        places = [i + number * width for i, group in enumerate(groups.values()) if label in group]
        heights = [group[label] for group in groups.values() if label in group]
        bars = axis.bar(places, heights, width, label=label)
        axis.bar_label(bars, fmt="%.3g", fontsize=6, rotation=90, padding=2)
    axis.set_xticks([i + 0.4 - width / 2 for i in range(len(groups))], list(groups))
    if labels:
        axis.set_yscale("log")
        axis.margins(y=0.15)
        axis.legend(fontsize=7)
