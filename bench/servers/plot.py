"""Draw a run of servers: throughput, processor time and latency."""

from __future__ import annotations

from pathlib import Path

from bench.comparison import plot
from bench.servers.report import Run

_PANELS = (
    ("per_s", "questions/s (higher is better)", False),
    ("cpu_ms", "CPU ms a question (lower is better)", False),
    ("p99_ms", "p99 latency, ms (lower is better)", True),
)


def draw(run: Run, out: Path) -> None:
    """Write a PNG with a panel for each figure."""
    figure = plot.canvas(12, 10)
    axes = figure.subplots(len(_PANELS), 1)
    for axis, (name, title, logarithmic) in zip(axes, _PANELS, strict=True):
        groups = {
            scenario: {label: getattr(one, name) for label, one in found.items()}
            for scenario, found in run.results.scenarios.items()
        }
        plot.bars(axis, groups, title, logarithmic=logarithmic)
    plot.save(figure, run.conditions, out)
