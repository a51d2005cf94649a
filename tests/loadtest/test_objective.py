"""An objective for latency: the highest load that keeps it, and whether a run passes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.__main__ import main
from loadtest.figures import StepFigures
from loadtest.machine import CpuShare
from loadtest.objective import Objective, earlier_load, highest_load, parse, verdict

EASY = StepFigures(10, 1000, 10, 5, 5, 8, 20, 30, 0, 4, 0, 0)
P99 = parse("p99=100ms")


def step(load: float, p99_ms: float, **changes: Any) -> StepFigures:
    return replace(EASY, load=load, p99_ms=p99_ms, **changes)


STEPS = [step(10, 20), step(20, 100), step(30, 101), step(40, 50)]


def test_an_objective_is_read() -> None:
    assert parse("p90=0.5s") == Objective("p90", 500.0)
    assert str(parse("max=1s")) == "max=1000ms"
    for text in ("p99", "p95=1ms", "p99=1", "p99=-1ms", "p99=0ms", ""):
        with pytest.raises(ValueError, match="expected p50, p90, p99 or max, as in p99=100ms"):
            parse(text)


def test_the_highest_load_is_below_the_first_that_fails() -> None:
    assert highest_load(P99, STEPS) == 20  # not 40, where the machine was lucky
    assert highest_load(P99, list(reversed(STEPS))) == 20
    assert highest_load(parse("p99=10ms"), STEPS) is None


@pytest.mark.parametrize("field", ["refused", "failed"])
def test_requests_without_an_answer_do_not_keep_it(field: str) -> None:
    assert P99.kept_by(step(10, 20, **{field: 1}))
    assert not P99.kept_by(step(10, 20, **{field: 2}))


def test_rates_that_were_given_must_all_keep_it() -> None:
    given = verdict(P99, STEPS, all_loads=True, earlier=None)
    assert given["faults"] == ["p99=100ms is not kept at 30"]
    assert verdict(P99, STEPS, all_loads=False, earlier=None)["faults"] == []
    none = verdict(parse("p99=1ms"), STEPS, all_loads=False, earlier=None)
    assert none["faults"] == ["p99=1ms is kept at no load"]


def test_a_slower_run_than_before_fails(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    file.write_text(json.dumps({"steps": [asdict(step(load, 20)) for load in (10, 22)]}))
    earlier = earlier_load(file, P99)
    assert earlier == 22
    assert not verdict(P99, STEPS, all_loads=False, earlier=earlier)["faults"]  # within a tenth
    slower = verdict(P99, STEPS[:1], all_loads=False, earlier=earlier)
    assert slower["faults"] == ["p99=100ms is kept up to 10; the earlier run: 22"]


def test_what_is_no_earlier_run_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any load is sent, or a server started."""
    (tmp_path / "summary.json").write_text("[]")
    compare = ["--compare", str(tmp_path / "summary.json")]
    assert main(["rate", "--objective", "p99=1s", *compare]) == 1
    assert capsys.readouterr().err.endswith("expected summary.json of an earlier run\n")
    assert main(["rate", *compare]) == 1
    assert "--compare needs --objective" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["rate", "--objective", "fast"])
    assert "argument --objective: 'fast': expected p50" in capsys.readouterr().err


def test_the_share_of_the_processor_is_a_share() -> None:
    share = CpuShare()
    while share.so_far() in (None, 0.0):
        sum(range(100_000))
    used = share.so_far()
    assert used is not None
    assert 0 < used <= 1
