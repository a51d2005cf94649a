"""Draw figures as groups of bars: a group for each scenario, a bar for each candidate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.comparison.report import Conditions

Groups = Mapping[str, Mapping[str, float]]  # by group, then by label


def canvas(width: float, height: float) -> Figure:
    """Return an empty figure that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bars(axis: Axes, groups: Groups, title: str, *, logarithmic: bool = False) -> None:
    labels = list(dict.fromkeys(label for group in groups.values() for label in group))
    width = 0.8 / max(1, len(labels))
    for number, label in enumerate(labels):
        places = [i + number * width for i, group in enumerate(groups.values()) if label in group]
        heights = [group[label] for group in groups.values() if label in group]
        drawn = axis.bar(places, heights, width, label=label)
        axis.bar_label(drawn, fmt="%.3g", fontsize=6, rotation=90, padding=2)
    axis.set_xticks([i + 0.4 - width / 2 for i in range(len(groups))], list(groups))
    axis.set_title(title)
    if labels:
        axis.set_yscale("log" if logarithmic else "linear")
        axis.margins(y=0.15)
        axis.legend(fontsize=7)


def save(figure: Figure, conditions: Conditions, out: Path) -> None:
    figure.suptitle(f"{conditions.machine}; commit {(conditions.commit or 'unknown')[:12]}")
    figure.savefig(out, dpi=120)
