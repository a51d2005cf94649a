"""Write a run as one self-contained HTML file, as JSON and as CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from pathlib import Path
from typing import Any

from loadtest import charts, figures, samples
from loadtest.figures import StepFigures
from loadtest.samples import Sample

_BINS = 60  # of the chart over time
_STYLE = """body{font:15px system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}
td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd}
svg{width:100%;font-size:11px}.grid{stroke:#e5e5e5}.mark{stroke:#555;stroke-dasharray:4 3}
.knee{font-weight:bold}"""


@dataclass(frozen=True)
class Run:
    """A load test and its results."""

    about: Mapping[str, Any]  # mode, machine, model, command
    unit: str  # of the load: requests/s or callers
    steps: Sequence[StepFigures]
    samples: Sequence[Sample]
    verdict: Mapping[str, Any] | None = None  # of `objective.verdict`, where there was one

    @property
    def knee(self) -> StepFigures | None:
        return figures.knee(self.steps)

    def summary(self) -> dict[str, Any]:
        return {
            **self.about,
            "load_unit": self.unit,
            "requests": len(self.samples),
            "questions": sum(sample.questions for sample in self.samples),
            "knee": asdict(self.knee) if self.knee else None,
            "most_throughput": max((step.throughput for step in self.steps), default=0.0),
            "steps": [asdict(step) for step in self.steps],
            "statuses": figures.statuses(self.samples),
            **({"verdict": dict(self.verdict)} if self.verdict else {}),
        }


def write(run: Run, folder: Path) -> None:
    """Write `report.html`, `summary.json` and `samples.csv` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(run.summary(), indent=2) + "\n")
    samples.write(folder / "samples.csv", run.samples)
    (folder / "report.html").write_text(html(run), encoding="utf-8")


def html(run: Run) -> str:
    knee = run.knee
    sections = [
        f"<h1>Load test: {escape(str(run.about.get('mode')))}</h1>",
        _pairs({name: value for name, value in run.about.items() if name != "mode"}),
        f"<p class='knee'>{_knee_sentence(run)}</p>" if knee else "",
        f"<h2>Objective</h2>{_pairs(run.verdict)}" if run.verdict else "",
        "<h2>Latency over time</h2>",
        "<p>By the time when each request was due; rejections (429) included.</p>",
        _over_time(run),
        "<h2>Throughput against load</h2>",
        _against_load(run, {"answered as expected": "throughput"}, "requests/s"),
        "<h2>Latency against load</h2>",
        _against_load(run, {"p50": "p50_ms", "p90": "p90_ms", "p99": "p99_ms"}, "ms"),
        "<h2>Queue against inference</h2>",
        "<p>Means of the headers <code>x-queue-time</code> and "
        "<code>x-inference-time</code>, beside the mean latency that clients measured.</p>",
        _against_load(
            run, {"queue": "queue_ms", "inference": "inference_ms", "seen": "mean_ms"}, "ms"
        ),
        "<h2>Steps</h2>",
        _table(run),
        "<h2>Answers</h2>",
        _pairs(figures.statuses(run.samples)),
    ]
    head = f"<meta charset='utf-8'><title>CyberSolve load test</title><style>{_STYLE}</style>"
    body = "".join(sections)
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{body}</body></html>\n"


def _knee_sentence(run: Run) -> str:
    knee = run.knee
    assert knee is not None
    return (
        f"The knee is at {knee.load:g} {run.unit}: {knee.throughput:.1f} requests/s, "
        f"p50 {knee.p50_ms:.1f} ms, p99 {knee.p99_ms:.1f} ms."
    )


def _over_time(run: Run) -> str:
    end_s = max((sample.due_s for sample in run.samples), default=1.0)
    series = figures.over_time(run.samples, max(0.25, end_s / _BINS))
    named = {f"p{100 * quantile:g}": line for quantile, line in series.items()}
    return charts.lines(named, x_label="seconds", y_label="ms")


def _against_load(run: Run, names: Mapping[str, str], y_label: str) -> str:
    series = {
        label: [(step.load, float(getattr(step, name))) for step in run.steps]
        for label, name in names.items()
    }
    mark = (run.knee.load, "knee") if run.knee else None
    return charts.lines(series, x_label=f"load, {run.unit}", y_label=y_label, mark=mark)


def _table(run: Run) -> str:
    names = [field.name for field in fields(StepFigures)]
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
    rows = [
        f"<tr{' class=knee' if step == run.knee else ''}>"
        + "".join(f"<td>{getattr(step, name):.4g}</td>" for name in names)
        + "</tr>"
        for step in run.steps
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _pairs(values: Mapping[str, Any]) -> str:
    rows = (
        f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>"
        for name, value in values.items()
    )
    return f"<table>{''.join(rows)}</table>"
