"""The report of a comparison: written after every result, and summed up in tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.cuda.agreement import Scored, compare
from bench.cuda.attention import kernels
from bench.cuda.plan import REFERENCE, TRACE, Step
from bench.cuda.processes import LOG_SHOWN

Entry = dict[str, Any]


class Report:
    """A document of JSON in `path`, complete at any time up to the last result."""

    def __init__(self, path: Path, **conditions: Any) -> None:
        self._path = path
        self.content: Entry = {**conditions, "finished": False, "prepared_s": {}, "shapes": {}}
        self._references: dict[str, list[Scored]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write()

    def entry(self, step: Step) -> Entry:
        """Return what the report has of a step's engine on its shape."""
        engines: Entry = self.content["shapes"].setdefault(step.shape, {})
        entry: Entry = engines.setdefault(step.engine.label, {})
        return entry.setdefault("trace", {}) if step.work == TRACE else entry

    def add(self, step: Step, result: Entry) -> None:
        """Add one result of a step's process."""
        entry = self.entry(step)
        if "answers" in result:
            self._compare(step, [Scored(**answer) for answer in result["answers"]])
        elif "case" in result:
            entry.setdefault("times", {})[result.pop("case")] = result
        else:
            entry.update(result)
        self.write()

    def end(self, step: Step, status: str, log: Path | None = None) -> None:
        """Record how a step ended, for a trace the attention kernels of its `log`, and for a failed
        step the end of it: the machine may be gone before anybody can read more.
        """
        entry = self.entry(step)
        entry["status"] = status
        if log is not None and log.exists():
            text = log.read_text(encoding="utf-8", errors="replace")
            if step.work == TRACE:
                entry["attention"] = kernels(text)
            if status != "done":
                entry["log"] = text[-LOG_SHOWN:]
        self.write()

    def write(self) -> None:
        write_whole(self._path, self.content)

    def line(self) -> str:
        """Return the whole report as one line."""
        return json.dumps(self.content)

    def _compare(self, step: Step, answers: list[Scored]) -> None:
        if step.engine == REFERENCE:
            self._references[step.shape] = answers
        elif step.shape in self._references:
            self.entry(step)["parity"] = compare(answers, self._references[step.shape])


def write_whole(path: Path, content: Entry) -> None:
    """Write `content` to `path`, which has a whole document at any time."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def tables(content: Entry) -> Iterator[str]:
    """Yield lines for people: for each shape how engines agree, and their questions a second."""
    for shape, engines in content["shapes"].items():
        yield f"\n## {shape}\n"
        yield "| engine | status | equal to PyTorch fp32 | largest lead lost | log-probability |"
        yield "|---|---|---|---|---|"
        for label, entry in engines.items():
            yield _agreement(label, entry)
        timed = {label: entry["times"] for label, entry in engines.items() if "times" in entry}
        if timed:
            yield f"\n| questions/s | {' | '.join(timed)} |"
            yield "|---" * (len(timed) + 1) + "|"
            for case in dict.fromkeys(case for times in timed.values() for case in times):
                cells = (_cell(times.get(case, {})) for times in timed.values())
                yield f"| {case} | {' | '.join(cells)} |"


def _agreement(label: str, entry: Entry) -> str:
    parity = entry.get("parity", {})
    worst = parity.get("worst_differences") or [{}]
    cells = (
        label,
        entry.get("status", "traced alone"),
        f"{parity['equal']} of {parity['answers']}" if parity else "",
        _number(worst[0].get("lead")),
        _number(parity.get("logprob_difference_max")),
    )
    return f"| {' | '.join(cells)} |"


def _cell(figures: Entry) -> str:
    if "per_s" in figures:
        return f"{figures['per_s']:,.0f} ({figures['ms']:.1f} ms)"
    return "error" if "error" in figures else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"
