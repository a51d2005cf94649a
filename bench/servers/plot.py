"""Draws a run: throughput, processor time and latency of every server."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.servers.report import Run

_PANELS = (
    ("per_s", "questions/s (higher is better)", False),
    ("cpu_ms", "CPU ms a question (lower is better)", False),
    ("p99_ms", "p99 latency, ms (lower is better)", True),
)


def draw(run: Run, out: Path) -> None:
    """Write a PNG."""
    figure = Figure(figsize=(12, 10), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (name, title, logarithmic) in zip(
        figure.subplots(len(_PANELS), 1), _PANELS, strict=True
    ):
        _bars(axis, run, name)
        axis.set_title(title)
        if logarithmic:
            axis.set_yscale("log")
    figure.suptitle(f"{run.machine}; commit {(run.commit or 'unknown')[:12]}")
    figure.savefig(out, dpi=120)


def _bars(axis: Axes, run: Run, name: str) -> None:
    """Scenarios side by side, in each a bar for every server."""
    scenarios = run.results.scenarios
    labels = list(dict.fromkeys(label for found in scenarios.values() for label in found))
    width = 0.8 / max(1, len(labels))
    for number, label in enumerate(labels):
        places = [i + number * width for i, f in enumerate(scenarios.values()) if label in f]
        heights = [getattr(f[label], name) for f in scenarios.values() if label in f]
        bars = axis.bar(places, heights, width, label=label)
        axis.bar_label(bars, fmt="%.3g", fontsize=7, padding=2)
    axis.set_xticks([i + 0.4 - width / 2 for i in range(len(scenarios))], list(scenarios))
    axis.margins(y=0.15)
    if labels:
        axis.legend(fontsize=8)
