"""A report as Markdown for people: the tables of `training.report`, and its plots by name. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.partial import PLACES

Report = Mapping[str, Any]
Row = Sequence[object]


def markdown(report: Report, plots: Mapping[str, str]) -> str:
    """`plots` maps captions to file names beside the text."""
    sections = [
        ("Exact match", _exact(report)),
        ("Teacher-forced, as the research scored", _teacher_forced(report)),
        ("How near the wrong answers come", _partial(report)),
        ("How far off the wrong answers are", _absolute_error(report)),
        ("The first step that failed", _first_failed(report)),
        ("Exact match by number of terms", _by_terms(report)),
        ("Confidence", _confidence(report)),
        ("Plots", "\n\n".join(f"![{caption}]({name})" for caption, name in plots.items())),
        ("Some wrong answers", _wrong(report)),
    ]
    head = [f"# Evaluation of {report.get('model', 'a model')}", _facts(report)]
    body = [f"## {title}\n\n{text}" for title, text in sections if text]
    return "\n\n".join([part for part in (*head, *body) if part]) + "\n"


def _facts(report: Report) -> str:
    lines = [str(report["description"])] if "description" in report else []
    lines += [f"`{report['command']}`"] if "command" in report else []
    return "\n\n".join(lines)


def table(head: Row, rows: Iterable[Row]) -> str:
    """A Markdown table; numbers as they are, `None` as a dash."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [["-" if cell is None else str(cell) for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def percent(share: float) -> str:
    return f"{100 * share:.2f}%"


def interval(figures: Mapping[str, Any]) -> str:
    low, high = figures["interval"]
    return f"{100 * low:.2f} to {100 * high:.2f}"


def _exact(report: Report) -> str:
    head = ["split", "questions", "exact, greedy", "95% interval", "exact after the second try",
            "correct", "wrong", "unverifiable"]  # fmt: skip
    rows = []
    for split, figures in report["splits"].items():
        second = figures["second_try"]
        verdicts = [figures["verdicts"].get(verdict, 0) for verdict in head[-3:]]
        rows.append(
            [
                split,
                f"{figures['questions']:,}",
                f"**{percent(figures['exact_match'])}**",
                interval(figures),
                f"{percent(second['exact_match'])} ({interval(second)})" if second else None,
                *verdicts,
            ]
        )
    note = (
        "Exact match compares whole answers; the verdicts on the right come from substituting the\n"
        "greedy answer into the equation. Intervals are Wilson's."
    )
    return f"{table(head, rows)}\n\n{note}"


def _teacher_forced(report: Report) -> str | None:
    """`None` where no split was scored so."""
    head = ["split", "questions", "exact, teacher-forced", "95% interval", "log-probability"]
    forced = [(name, split.get("teacher_forced")) for name, split in report["splits"].items()]
    rows = [
        [
            name,
            f"{figures['questions']:,}",
            percent(figures["exact_match"]),
            interval(figures),
            f"{figures['expected_logprob']:.3f}",
        ]
        for name, figures in forced
        if figures
    ]
    note = (
        "One pass that is told the right answer's beginning at every place; nobody who asks a\n"
        "question knows that. The logarithm is natural, of the right answer, and a mean."
    )
    return f"{table(head, rows)}\n\n{note}" if rows else None


def _of(part: int, whole: int) -> str | None:
    return f"{part} ({100 * part / whole:.0f}%)" if whole else None


def _partial(report: Report) -> str:
    head = ["split", "wrong", "no number", "sign only", "as many digits",
            *(f"{place} right" for place in PLACES),
            "one edit away", "median error", "relative"]  # fmt: skip
    rows = []
    for split, figures in report["splits"].items():
        partial = figures["partial"]
        wrong = partial["wrong"]
        keys = ("no_number", "sign_only", "same_length")
        rows.append(
            [
                split,
                wrong,
                *(_of(partial[key], wrong) for key in keys),
                *(_of(right, of) for right, of in partial["digits"].values()),
                _of(partial["one_edit"], wrong),
                partial["median_absolute_error"],
                partial["median_relative_error"],
            ]
        )
    note = (
        "Of the wrong answers. A digit is compared by its place, without the sign, where the\n"
        "right answer or the model's is that long."
    )
    return f"{table(head, rows)}\n\n{note}"


def _counts(report: Report, key: str) -> str:
    """A table of counts among wrong answers, from a mapping that each split has at `key`."""
    counted = {s: figures[key] for s, figures in report["splits"].items() if figures[key]}
    if not counted:
        return ""
    names = list(next(iter(counted.values())))
    rows = [
        [split, *(_of(counts[name], sum(counts.values())) for name in names)]
        for split, counts in counted.items()
    ]
    return table(["split", *names], rows)


def _absolute_error(report: Report) -> str:
    return _counts(report, "absolute_error")


def _first_failed(report: Report) -> str:
    return _counts(report, "first_failed")


def _by_terms(report: Report) -> str:
    splits = report["splits"]
    numbers = sorted({int(terms) for figures in splits.values() for terms in figures["by_terms"]})
    rows = []
    for terms in numbers:
        cells = [figures["by_terms"].get(str(terms)) for figures in splits.values()]
        shown = [c and f"{percent(c['exact_match'])} of {c['questions']:,}" for c in cells]
        rows.append([terms, *shown])
    return table(["terms", *splits], rows)


def _confidence(report: Report) -> str:
    head = ["split", "questions", "mean confidence", "exact", "calibration error", "Brier score"]
    rows = [
        [
            split,
            f"{known['questions']:,}",
            percent(known["mean"]),
            percent(sum(b["exact"] for b in known["bins"]) / known["questions"]),
            f"{known['expected_calibration_error']:.4f}",
            f"{known['brier']:.4f}",
        ]
        for split, figures in report["splits"].items()
        if (known := figures["confidence"])
    ]
    return table(head, rows) if rows else ""


def _wrong(report: Report) -> str:
    head = ["split", "question", "expected", "answer", "first failed step"]
    rows = [
        [
            case["split"],
            f"`{case['question']}`",
            case["expected"],
            _code(case["answer"]),
            case["failed"],
        ]
        for case in report["wrong"]
    ]
    return table(head, rows) if rows else ""


def _code(answer: str | None) -> str | None:
    """A model's own words, which might hold anything."""
    return None if answer is None else f"`{answer[:40].replace('|', '/').replace('`', '')}`"
