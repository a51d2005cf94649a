"""The pure parts of the comparison of servers."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from bench.comparison.report import Conditions
from bench.servers.__main__ import main
from bench.servers.candidate.setup import VARIABLE, Setup
from bench.servers.comparison import Results
from bench.servers.entries import OURS, entries
from bench.servers.figures import Cost, Figures, figures, over_rounds
from bench.servers.load import NO_ANSWER, Answers
from bench.servers.questions import Workload, wrong
from bench.servers.report import Run, details, line, ratios, tables
from bench.servers.scenarios import Callers, Rate, rates

EXPECTED: dict[str, Any] = {
    "answer": "4",
    "work": ["x = 4"],
    "confidence": 0.9,
    "timing_ms": {"queue": 0, "inference": 1, "total": 1},
}
WORKLOAD = Workload(["x = 4"], [EXPECTED])
PYTHON = Path("/baselines/bin/python")


def faults(body: bytes) -> list[str]:
    return wrong(WORKLOAD, [(0, body)])


@pytest.mark.parametrize(
    "found",
    [
        EXPECTED,
        [EXPECTED],
        EXPECTED | {"timing_ms": {"queue": 9, "inference": 9, "total": 9}},
        EXPECTED | {"confidence": 0.903},
    ],
)
def test_an_answer_may_differ_in_its_timings_and_a_little_in_confidence(found: object) -> None:
    assert faults(json.dumps(found).encode()) == []


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (EXPECTED | {"answer": "5"}, "answer is '5', expected '4'"),
        (EXPECTED | {"work": None}, "work is None"),
        (EXPECTED | {"confidence": 0.8}, "confidence is 0.8, expected 0.9"),
        (EXPECTED | {"confidence": None}, "confidence is None, expected 0.9"),
        (EXPECTED | {"more": 1}, "other fields"),
        ([EXPECTED, EXPECTED], "other fields"),
        ({"detail": "busy"}, "other fields"),
        ("x", "other fields"),
    ],
)
def test_any_other_difference_is_a_fault_that_names_its_question(found: object, fault: str) -> None:
    (said,) = faults(json.dumps(found).encode())
    assert said.startswith(f"'x = 4': {fault}")


def test_a_body_that_is_not_json_is_a_fault() -> None:
    assert faults(b"<html>") == ["'x = 4': no JSON: b'<html>'"]


def test_answers_before_and_after_the_measured_time_do_not_count() -> None:
    answers = Answers(
        due_s=[0.5, 1.0, 1.5, 2.5, 2.9, 2.0],
        done_s=[0.9, 1.1, 1.9, 2.6, 3.4, 2.1],
        statuses=[200, 200, 200, 200, 200, 503],
    )
    found = figures(answers, Cost(0.6, 0.06, 150.0), lead_s=1.0, end_s=3.0)
    assert found.per_s == 1.5  # of those answered from 1 to 3: not the first, the late, the refused
    assert found.p50_ms == pytest.approx(100)  # of 100, 100, 400 and 500
    assert found.p99_ms == pytest.approx(500)
    assert (found.cpu_ms, found.generator_us) == pytest.approx((100, 10_000))
    assert found.failed == pytest.approx(1 / 6)


def test_a_turn_without_answers_has_no_latency() -> None:
    nothing = figures(Answers(), Cost(1, 1, 1), lead_s=1, end_s=2)
    refused = figures(Answers([1.0], [1.1], [NO_ANSWER]), Cost(1, 1, 1), lead_s=1, end_s=2)
    for found in (nothing, refused):
        assert (found.per_s, found.failed) == (0, 1)
        assert math.isnan(found.p99_ms)


def turn(per_s: float, failed: float = 0.0) -> Figures:
    return Figures(per_s, 10, 20, 2.5, 180, failed, 40)


def test_figures_are_medians_over_turns_and_failures_the_worst() -> None:
    found = over_rounds([turn(1), turn(300, failed=0.5), turn(200)])
    assert (found.per_s, found.failed) == (200, 0.5)


def test_arrivals_end_with_the_turn_and_are_the_same_for_all() -> None:
    due_s = list(Rate(50).due_s(4.0))
    assert due_s == list(Rate(50).due_s(4.0))
    assert 100 < len(due_s) < 300
    assert max(due_s) < 4
    assert [rate.name for rate in rates(400)] == ["rate-100", "rate-200", "rate-300"]
    assert Callers(8).name == "callers-8"


def test_every_server_gets_the_same_engine_and_ours_neither_cache_nor_alternatives() -> None:
    ours, litserve, bentoml = entries(PYTHON, cores=2)
    setups = [one.first(Path("models/mini"), workers=2) for one in (ours, litserve, bentoml)]
    assert {(one.bundle, one.rows, one.workers) for one in setups} == {
        (str(Path("models/mini").resolve()), 32, 2)
    }
    environment = ours.environment(setups[0])
    assert environment["CYBERSOLVE_CACHED_ANSWERS"] == "0"
    assert environment["CYBERSOLVE_MAX_TRIES"] == environment["CYBERSOLVE_THREADS"] == "1"
    assert ours.shown(setups[0]) == "defaults"
    assert "bench.servers.candidate.with_litserve" in litserve.command()
    assert "bench.servers.candidate.with_bentoml:Solving" in bentoml.command()


def test_a_setup_is_passed_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    litserve = entries(PYTHON, cores=2)[1]
    setup = dataclasses.replace(litserve.first(Path("mini"), 2), port=8123, wait_s=0.02)
    monkeypatch.setenv(VARIABLE, litserve.environment(setup)[VARIABLE])
    assert Setup.from_environment() == setup


def test_a_search_changes_one_knob_at_a_time() -> None:
    litserve = entries(PYTHON, cores=2)[1]
    best = litserve.first(Path("mini"), 2)
    others = list(litserve.others("max_batch", best))
    assert [one.max_batch for one in others] == [16, 64]
    assert all(dataclasses.replace(one, max_batch=best.max_batch) == best for one in others)
    assert litserve.shown(others[0]) == (
        "wait_s 0.005, max_batch 16, fast_queue True, http_processes 1"
    )


def run(others_share: float = 0.0) -> Run:
    results = Results(
        scenarios={"callers-8": {OURS: turn(300), "litserve": turn(200), "bentoml": turn(100)}},
        settings={OURS: "defaults", "litserve": "max_batch 32"},
        excluded={"other": "died"},
        checked={OURS: 12, "litserve": 13},
        others_share=[others_share],
        waiting_share=[0.01],
    )
    conditions = Conditions("2 cores", "abc", "python -m bench.servers", rounds=3)
    return Run(conditions, 8.0, {OURS: "cybersolve 1"}, results)


def test_the_last_line_has_our_ratio_to_each_baseline() -> None:
    said = line(run())
    assert json.loads(json.dumps(said)) == said
    assert said["ours_by"] == {"callers-8": {"litserve": 1.5, "bentoml": 3.0}}
    assert said["scenarios"]["callers-8"][OURS]["per_s"] == 300
    assert details(run())["bodies_checked"] == {OURS: 12, "litserve": 13}
    assert ratios({"litserve": turn(200)}) == {}


def test_tables_show_exclusions_and_warn_of_a_busy_machine() -> None:
    quiet, busy = tables(run()), tables(run(others_share=0.4))
    assert "| litserve | 200.0 | 1.50 | 10.0 | 20.0 | 2.50 | 180 | 0.0% | 40 |" in quiet
    assert "other is left out: died" in quiet
    assert "bodies compared: 25" in quiet
    assert "was busy" in busy
    assert "was busy" not in quiet


def test_an_unknown_server_is_rejected_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "triton"]) == 1
    expected = "error: --only triton: expected some of ours, litserve, bentoml\n"
    assert capsys.readouterr().err == expected
