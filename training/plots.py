"""Draw the plots of a report from its figures alone, so that `report.json` suffices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.data import SPLITS
from training.report import NO_NUMBER, NO_WORK

Splits = Mapping[str, Mapping[str, Any]]
_INK, _FAINT, _GREY = "#222222", "#e4e4e4", "#b8b8b8"
_FEW = 20  # questions of one length: fewer say too little for a point
_COLOURS = {split: colormaps["tab20"](index) for index, split in enumerate(SPLITS)}


def draw(report: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Write a PNG of each plot that the report has figures for; return file names by caption."""
    plots: dict[str, tuple[str, Callable[[Splits], Figure | None]]] = {
        "Exact match by split, with 95% intervals": ("exact_match.png", _exact_match),
        "Wrong answers by the first step that failed": ("first_failed.png", _first_failed),
        "Wrong answers by how far off they are": ("absolute_error.png", _absolute_error),
        "Wrong answers by number of terms": ("by_terms.png", _by_terms),
        "Confidence and what came of it": ("reliability.png", _reliability),
    }
    drawn = {}
    for caption, (name, plot) in plots.items():
        figure = plot(report["splits"])
        (folder / name).unlink(missing_ok=True)
        if figure is not None:
            figure.savefig(folder / name, dpi=130)
            drawn[caption] = name
    return drawn


def _canvas(title: str, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontweight="bold", color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(color=_GREY, labelcolor=_INK)
    axes.set_axisbelow(True)
    return figure, axes


def _rows(title: str, labels: list[str]) -> tuple[Figure, Any]:
    """Return axes with one row for each split, the first one on top."""
    figure, axes = _canvas(title, 1.4 + 0.45 * len(labels))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def _exact_match(splits: Splits) -> Figure:
    figure, axes = _rows(
        "Exact match", [f"{name}  (n = {s['questions']:,})" for name, s in splits.items()]
    )
    axes.grid(axis="x", color=_FAINT)
    tries = {
        "greedy": (None, 0.0, "tab:blue"),
        "after the second try": ("second_try", 0.22, "tab:green"),
    }
    for label, (key, offset, colour) in tries.items():
        chosen = [figures[key] if key else figures for figures in splits.values()]
        if not all(chosen):
            continue
        values = [100 * c["exact_match"] for c in chosen]
        places = [i + offset for i in range(len(chosen))]
        reach = [_reach(c) for c in chosen]
        axes.errorbar(values, places, xerr=list(zip(*reach, strict=True)), fmt="o", markersize=6,
                      capsize=3, linewidth=1.5, color=colour, label=label)  # fmt: skip
        if key is None:
            for value, place in zip(values, places, strict=True):
                axes.annotate(f"{value:.2f}", (value, place), (0, 7), ha="center", fontsize=8,
                              textcoords="offset points", color=_INK)  # fmt: skip
    lowest = min(100 * figures["interval"][0] for figures in splits.values())
    axes.set_xlim(-4 if lowest < 30 else 10 * (lowest // 10) - 1, 101.5)
    axes.set_xlabel("exact match, % (bars: 95% interval)")
    if all(figures["second_try"] for figures in splits.values()):
        axes.legend(frameon=False, loc="lower left")
    return figure


def _reach(share: Mapping[str, Any]) -> tuple[float, float]:
    """Return the length of the interval to either side, in percent."""
    value, (low, high) = share["exact_match"], share["interval"]
    return max(0.0, 100 * (value - low)), max(0.0, 100 * (high - value))


def _first_failed(splits: Splits) -> Figure | None:
    return _stacks(splits, "first_failed", "Where the worked form fails first", "viridis", NO_WORK)


def _absolute_error(splits: Splits) -> Figure | None:
    return _stacks(splits, "absolute_error", "How far off wrong answers are", "YlOrRd", NO_NUMBER)


def _stacks(splits: Splits, key: str, title: str, colours: str, other: str) -> Figure | None:
    """Draw the wrong answers of each split as one bar, divided by the classes at `key`."""
    chosen = {
        name: figures[key]
        for name, figures in splits.items()
        if figures[key] and sum(figures[key].values())
    }
    if not chosen:
        return None
    totals = {name: sum(counts.values()) for name, counts in chosen.items()}
    labels = [
        f"{name}  ({totals[name]:,} of {splits[name]['questions']:,} wrong)" for name in chosen
    ]
    figure, axes = _rows(title, labels)
    figure.set_figheight(figure.get_figheight() + 0.5)  # the legend below
    classes = list(next(iter(chosen.values())))
    left = [0.0] * len(chosen)
    for index, name in enumerate(classes):
        shares = [100 * counts[name] / totals[split] for split, counts in chosen.items()]
        level = 0.12 + 0.76 * index / max(1, len(classes) - 2)
        colour = _GREY if name == other else colormaps[colours](level)
        bars = axes.barh(range(len(chosen)), shares, left=left, height=0.66, color=colour,
                         edgecolor="white", label=name)  # fmt: skip
        texts = [f"{share:.0f}" if share >= 6 else "" for share in shares]
        axes.bar_label(bars, texts, label_type="center", fontsize=8, color=_on(colour))
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the wrong answers")
    _legend_below(figure, axes, len(classes))
    return figure


def _legend_below(figure: Figure, axes: Any, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False,
                  fontsize=8, handlelength=1, columnspacing=1.2)  # fmt: skip


def _on(colour: Any) -> str:
    """Return black or white, whichever is legible on a colour."""
    if isinstance(colour, str):
        return _INK
    red, green, blue = colour[:3]
    return _INK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"


def _by_terms(splits: Splits) -> Figure | None:
    figure, axes = _canvas("Wrong answers by number of terms", 4.5)
    axes.grid(color=_FAINT)
    seen: set[int] = set()
    for name, figures in splits.items():
        points = {int(t): s for t, s in figures["by_terms"].items() if s["questions"] >= _FEW}
        if not points:
            continue
        seen |= points.keys()
        wrong = [100 - 100 * share["exact_match"] for share in points.values()]
        high, low = zip(*map(_reach, points.values()), strict=True)
        axes.errorbar(
            list(points),
            wrong,
            yerr=[low, high],
            marker="o",
            markersize=5,
            capsize=2,
            linewidth=1.4,
            elinewidth=0.8,
            color=_COLOURS.get(name, _INK),
            label=name,
        )
    if not seen:
        return None
    axes.set_xticks(sorted(seen))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"terms, zeros not counted (points of {_FEW} questions or more)")
    axes.set_ylabel("wrong, % (bars: 95% interval)")
    axes.legend(frameon=False, loc="best")
    return figure


def _reliability(splits: Splits) -> Figure | None:
    known = {name: f["confidence"] for name, f in splits.items() if f["confidence"]}
    if not known:
        return None
    figure, axes = _canvas("Confidence against what came of it", 6)
    axes.grid(color=_FAINT)
    axes.plot([0, 100], [0, 100], color=_GREY, linestyle="--", linewidth=1)
    for name, confidence in known.items():
        bins = confidence["bins"]
        error = confidence["expected_calibration_error"]
        axes.errorbar([100 * b["confidence"] for b in bins], [100 * b["exact_match"] for b in bins],
                      yerr=list(zip(*map(_reach, bins), strict=True)), marker="o", markersize=5,
                      capsize=2, linewidth=1.2, elinewidth=0.8, color=_COLOURS.get(name, _INK),
                      label=f"{name}  (calibration error {error:.3f})")  # fmt: skip
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    axes.set_xlabel("mean confidence of the bin, %")
    axes.set_ylabel("exact match, % (bars: 95% interval)")
    _legend_below(figure, axes, 3)
    return figure
