"""The conditions of a run, and its results as JSON and Markdown. Pure but for `write`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.comparison.figures import Figures


@dataclass(frozen=True)
class Conditions:
    """Machine, commit and command of a run; figures are medians of `rounds` turns."""

    machine: str
    commit: str | None
    command: str
    rounds: int


Scenarios = Mapping[str, Mapping[str, Figures]]  # by scenario, then by label


def line(conditions: Conditions, scenarios: Scenarios, names: Sequence[str]) -> dict[str, Any]:
    """Return the last line of the output, with the named figures of each candidate."""
    return {
        "machine": conditions.machine,
        "commit": conditions.commit,
        "scenarios": {
            scenario: {
                label: {name: one.shown()[name] for name in names} for label, one in found.items()
            }
            for scenario, found in scenarios.items()
        },
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(stem: Path, details: Mapping[str, Any], tables: str, last: Mapping[str, Any]) -> None:
    """Write `stem`.json and `stem`.md, and print the tables and the last line."""
    stem.with_suffix(".json").write_text(json.dumps(details, indent=2) + "\n")
    stem.with_suffix(".md").write_text(tables)
    print(tables)
    print(json.dumps(last))
