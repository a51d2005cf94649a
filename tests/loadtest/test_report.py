"""Reports, charts and the parsing of wrk's output."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtest import charts, report
from loadtest.ceiling import CeilingError, read
from loadtest.figures import by_step
from loadtest.samples import Sample
from loadtest.schedule import steps

WRK = """Running 3s test @ http://127.0.0.1:8000/solve
  Latency Distribution
     50%   88.39ms
     75%  110.00ms
     90%    1.20s
     99%  900.00us
  500 requests in 3.00s, 0.30MB read
  Non-2xx or 3xx responses: 7
Requests/sec:    164.00
"""


def run() -> report.Run:
    plan = steps([10, 20], seconds=1.0)
    samples = [
        Sample("/solve", 1, i / 10, i / 10, i / 10 + 0.02, 200, 200, 2.0, 9.0, 12.0)
        for i in range(20)
    ]
    return report.Run({"mode": "rate <&>"}, "requests/s", by_step(samples, plan), samples)


def test_a_report_is_self_contained(tmp_path: Path) -> None:
    report.write(run(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 4
    assert "The knee is at" in page
    assert "rate &lt;&amp;&gt;" in page
    for foreign in ("http:", "https:", "<script", "<link", " src="):
        assert foreign not in page
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"][0]["p50_ms"] == pytest.approx(20)
    assert summary["knee"]["load"] in {10, 20}
    rows = list(csv.DictReader((tmp_path / "samples.csv").read_text().splitlines()))
    assert len(rows) == 20
    assert (float(rows[3]["due_s"]), float(rows[3]["latency_ms"])) == pytest.approx((0.3, 20))


@pytest.mark.parametrize("line", [[], [(0.0, 0.0)], [(1.0, 3e-5), (700.0, 123456.0)]])
def test_charts_of_any_values_are_well_formed(line: list[tuple[float, float]]) -> None:
    svg = charts.lines({"a < b": line}, x_label="x & y", y_label="ms", mark=(0.5, "<knee>"))
    tree = ElementTree.fromstring(svg)  # noqa: S314
    circles = tree.findall("circle")
    assert len(circles) == len(line)
    assert all(0 <= float(circle.attrib["cx"]) <= 720 for circle in circles)
    assert all(0 <= float(circle.attrib["cy"]) <= 300 for circle in circles)


def test_output_of_wrk_is_parsed() -> None:
    ceiling = read(WRK, connections=64)
    assert (ceiling.per_s, ceiling.not_ok) == (164.0, 7)
    assert (ceiling.p50_ms, ceiling.p90_ms, ceiling.p99_ms) == (88.39, 1200.0, 0.9)


def test_unexpected_output_of_wrk_is_an_error() -> None:
    with pytest.raises(CeilingError, match="unable to connect"):
        read("unable to connect to 127.0.0.1", connections=1)
