"""Load tests end to end, against the real service, over a real port: `make ops-test`."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import ROOT, Server, start

pytestmark = pytest.mark.ops


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = start()
    yield running
    running.stop()


def loadtest(*arguments: str) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def test_an_open_loop_keeps_its_rates_and_reports_queue_and_inference(
    server: Server, tmp_path: Path
) -> None:
    summary = loadtest(
        "rate", "--url", server.url, "--rates", "5,15", "--seconds", "3", "--evenly",
        "--out", str(tmp_path),
    )  # fmt: skip
    assert summary["requests"] == 60
    assert [step["requests"] for step in summary["steps"]] == [15, 45]
    assert [step["failed"] for step in summary["steps"]] == [0, 0]
    assert all(step["inference_ms"] > 0 for step in summary["steps"])
    assert summary["model"].startswith("cybersolve-mini")
    assert summary["kernels"]
    assert " cores, " in summary["generator"]
    assert summary["generator_cpu"].endswith("% of all cores during the run")
    with (tmp_path / "samples.csv").open() as file:
        due = [float(row["due_s"]) for row in csv.DictReader(file)]
    assert due[:3] == pytest.approx([0.0, 0.2, 0.4], abs=1e-6)
    assert "The knee is at" in (tmp_path / "report.html").read_text()


def test_a_closed_loop_keeps_its_number_of_callers(server: Server, tmp_path: Path) -> None:
    summary = loadtest(
        "callers", "--url", server.url, "--callers", "1,4", "--seconds", "2",
        "--out", str(tmp_path),
    )  # fmt: skip
    assert [step["load"] for step in summary["steps"]] == [1, 4]
    assert {name.split()[1] for name in summary["statuses"]} <= {"200", "422"}
    assert all(step["failed"] == 0 for step in summary["steps"])


def test_the_ceiling_is_measured_with_wrk(server: Server) -> None:
    if shutil.which("wrk") is None:
        pytest.skip("needs wrk (apt-get install wrk)")
    summary = loadtest("ceiling", "--url", server.url, "--connections", "8", "--seconds", "2")
    assert summary["per_s"] > 1
    assert summary["not_ok"] == 0


def test_an_invalid_address_is_an_error_that_names_it() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "loadtest", "rate", "--url", "localhost:1"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert result.stderr == "error: localhost:1: expected http://... or https://...\n"


def test_an_objective_decides_the_exit_status(server: Server, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "loadtest", "rate", "--url", server.url, "--rates", "5", "--seconds",
        "2", "--evenly", "--out", str(tmp_path), "--objective",
    ]  # fmt: skip
    kept = subprocess.run([*command, "p99=30s"], cwd=ROOT, capture_output=True, check=False)
    assert kept.returncode == 0, kept.stderr
    assert json.loads(kept.stdout)["verdict"]["highest_load"] == 5
    assert "p99=30000ms" in (tmp_path / "report.html").read_text()
    slow = subprocess.run([*command, "p50=0.001ms"], cwd=ROOT, capture_output=True, check=False)
    assert slow.returncode == 3
    assert b"failed: p50=0.001ms is not kept at 5" in slow.stderr
