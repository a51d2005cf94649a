"""Judge a run: by an objective for its latency, and against an earlier run. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.figures import StepFigures

_FORM = re.compile(r"(p50|p90|p99|max)=(\d+(?:\.\d+)?)(ms|s)")
_MOST_FAILED = 0.001  # share of a step's requests that may be refused or fail
TOLERANCE = 0.1  # share by which a run may be slower than an earlier one: machines vary


@dataclass(frozen=True)
class Objective:
    """A bound for one of a step's figures of latency, in milliseconds."""

    quantile: str
    most_ms: float

    def kept_by(self, step: StepFigures) -> bool:
        """Return whether a step keeps the bound and answers nearly all of its requests."""
        unanswered = (step.refused + step.failed) / step.requests
        latency_ms: float = getattr(step, f"{self.quantile}_ms")
        return latency_ms <= self.most_ms and unanswered <= _MOST_FAILED

    def __str__(self) -> str:
        return f"{self.quantile}={self.most_ms:g}ms"


def parse(text: str) -> Objective:
    """Read `p99=100ms`. Raises `ValueError` that says what was expected."""
    match = _FORM.fullmatch(text)
    if match is None or float(match[2]) == 0:
        raise ValueError(
            f"{text!r:.40}: expected p50, p90, p99 or max, as in p99=100ms or p90=0.5s"
        )
    quantile, number, unit = match.groups()
    return Objective(quantile, float(number) * (1000 if unit == "s" else 1))


def highest_load(objective: Objective, steps: Sequence[StepFigures]) -> float | None:
    """Return the load up to which every step keeps the objective; None where the first does not."""
    highest = None
    for step in sorted(steps, key=lambda step: step.load):
        if not objective.kept_by(step):
            break
        highest = step.load
    return highest


def earlier_load(summary: Path, objective: Objective) -> float:
    """Return the load that an earlier run's `summary.json` kept this objective up to.

    Raises `ValueError` for a file that is no summary, and for a run that kept it at no load.
    """
    try:
        steps = [StepFigures(**step) for step in json.loads(summary.read_text())["steps"]]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{summary}: expected summary.json of an earlier run") from error
    highest = highest_load(objective, steps)
    if highest is None:
        raise ValueError(f"{summary}: {objective} was kept at none of its loads")
    return highest


def verdict(
    objective: Objective, steps: Sequence[StepFigures], *, all_loads: bool, earlier: float | None
) -> Mapping[str, Any]:
    """Return the highest load that keeps `objective`, and `faults`: empty if the run passes.

    With `all_loads` every step must keep it, else at least the first. The highest load may be lower
    than `earlier`, that of an earlier run, by `TOLERANCE`.
    """
    highest = highest_load(objective, steps)
    faults = []
    if all_loads:
        faults += [
            f"{objective} is not kept at {step.load:g}"
            for step in steps
            if not objective.kept_by(step)
        ]
    elif highest is None:
        faults.append(f"{objective} is kept at no load")
    if earlier is not None and (highest or 0.0) < (1 - TOLERANCE) * earlier:
        faults.append(f"{objective} is kept up to {highest or 0:g}; the earlier run: {earlier:g}")
    return {
        "objective": str(objective),
        "highest_load": highest,
        "earlier_highest_load": earlier,
        "faults": faults,
    }
