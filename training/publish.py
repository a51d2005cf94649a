"""Write an evaluation as a folder: `report.json`, `report.md`, plots, and every prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.markdown import markdown
from training.plots import draw
from training.prediction import Prediction
from training.report import report
from training.table import write_predictions

REPORT, TEXT, PREDICTIONS = "report.json", "report.md", "predictions.parquet"


def publish(
    results: Sequence[tuple[str, Sequence[Prediction]]],
    facts: Mapping[str, str],
    *,
    failures: int,
    folder: Path | None,
) -> dict[str, Any]:
    """Return the report on each split's predictions, and write it to `folder` if one is given.

    `facts` precede the figures: `model`, `description` and `command`.
    """
    figures = {**facts, **report(results, failures=failures)}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions(folder / PREDICTIONS, results)
        plots = draw(figures, folder)
        (folder / TEXT).write_text(markdown(figures, plots), encoding="utf-8")
        (folder / REPORT).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return figures


def summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report as one line of JSON: the benchmark's figures, and exact match by split."""
    keys = ("split", "questions", "exact", "exact_match")
    by_split = {name: split["exact_match"] for name, split in figures["splits"].items()}
    found = {**{key: figures[key] for key in keys}, "by_split": by_split}
    forced = {name: split["teacher_forced"] for name, split in figures["splits"].items()}
    if any(forced.values()):
        found["teacher_forced"] = {name: share["exact_match"] for name, share in forced.items()}
    return found
