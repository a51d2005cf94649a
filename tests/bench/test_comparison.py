"""The framework of comparisons: admission, turns, figures, reports and processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import processes
from bench.comparison.candidates import Candidate, CandidateFailed, start
from bench.comparison.figures import Figures, medians
from bench.comparison.report import Conditions, line, table, write
from bench.comparison.turns import Outcome, Turns, alternate


@dataclass(frozen=True)
class Entry:
    label: str


@dataclass
class FakeProcess:
    """Uses a second of processor time between two looks."""

    looks: int = 0
    closed: int = 0

    def cpu_s(self) -> float:
        self.looks += 1
        return float(self.looks)

    def close(self) -> None:
        self.closed += 1


Fake = Candidate[Entry, str, FakeProcess]


@dataclass
class Stage:
    outcome: Outcome = field(default_factory=Outcome)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.turns: Turns[Fake] = Turns(self.outcome, say=self.said.append, settle_s=0.0)

    def admit(self, *labels: str) -> list[Fake]:
        candidates = [Candidate(Entry(label), "1x1", FakeProcess()) for label in labels]
        for candidate in candidates:
            with self.turns.admission(candidate.label):
                self.turns.add(candidate)
        return candidates


def test_rounds_alternate() -> None:
    assert list(alternate(2, "ABC")) == [(n, item) for n in (0, 1) for item in "ABC"]


def test_candidates_take_turns_and_waiting_ones_are_accounted_for() -> None:
    stage = Stage()
    chosen = stage.admit("a", "b")
    measured: list[str] = []

    def measure(candidate: Fake) -> Figures:
        measured.append(candidate.label)
        return Figures(len(measured), 1, 2)

    found = stage.turns.take("batch-1", 2, chosen, measure)
    assert measured == ["a", "b", "a", "b"]
    assert {label: [one.per_s for one in rounds] for label, rounds in found.items()} == {
        "a": [1, 3],
        "b": [2, 4],
    }
    assert stage.said[0] == "batch-1: a: round 1 of 2: 1.0/s, p99 2.0 ms"
    assert [one.process.looks for one in chosen] == [4, 4]  # twice while the other works
    assert len(stage.outcome.waiting_share) == 4
    assert stage.outcome.most_waiting > 0


def test_the_best_setup_is_chosen_by_the_median_of_alternating_trials() -> None:
    stage = Stage()
    for label, setups in (("a", ("1x2", "2x1")), ("b", ("1x1",))):
        for setup in setups:
            stage.turns.add(Candidate(Entry(label), setup, FakeProcess()))
    rates = {"1x2": iter([50.0, 30.0, 30.0]), "2x1": iter([20.0, 40.0, 40.0])}  # the first misleads
    tried: list[str] = []

    def measure(candidate: Fake) -> Figures:
        tried.append(candidate.setup)
        return Figures(next(rates[candidate.setup]), 1, 2)

    chosen = stage.turns.best(3, measure, lambda one: -one.per_s)
    assert [(one.label, one.setup) for one in chosen] == [("a", "2x1"), ("b", "1x1")]
    assert tried == ["1x2", "2x1"] * 3  # b has no other setup


def test_a_candidate_that_fails_its_admission_is_excluded_and_closed() -> None:
    stage = Stage()
    (good,) = stage.admit("good")
    bad = [Candidate(Entry("bad"), setup, FakeProcess()) for setup in ("1x2", "2x1")]
    with stage.turns.admission("bad"):
        for candidate in bad:
            stage.turns.add(candidate)
        raise CandidateFailed("answers 1 of 9 differently")
    assert stage.outcome.excluded == {"bad": "answers 1 of 9 differently"}
    assert stage.said == ["bad is left out: answers 1 of 9 differently"]
    assert stage.turns.candidates == [good]
    stage.turns.close()
    assert [one.process.closed for one in (good, *bad)] == [1, 1, 1]


def test_a_bug_during_admission_is_raised_and_close_ends_the_candidate() -> None:
    stage = Stage()
    candidate = Candidate(Entry("a"), "1x1", FakeProcess())

    def admit() -> None:
        with stage.turns.admission("a"):
            stage.turns.add(candidate)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        admit()
    stage.turns.close()
    assert candidate.process.closed == 1


def test_medians_ignore_one_disturbed_round() -> None:
    rounds = [Figures(1, 900, 999), Figures(40, 20, 30), Figures(90, 1, 2)]
    assert medians(rounds) == Figures(40, 20, 30)


def test_a_missing_interpreter_names_the_command_that_installs_it(tmp_path: Path) -> None:
    python = tmp_path / "python"
    with pytest.raises(CandidateFailed, match=f"cannot load: no {python}; `make bench` installs"):
        start([str(python)], {}, tmp_path / "log", verb="bench")


def test_a_report_is_written_and_its_last_line_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conditions = Conditions("2 cores", "abc", "python -m bench", rounds=3)
    last = line(conditions, {"batch-1": {"a": Figures(1.00001, 2, 3)}}, ("per_s", "p99_ms"))
    assert last == {
        "machine": "2 cores",
        "commit": "abc",
        "scenarios": {"batch-1": {"a": {"per_s": 1.0, "p99_ms": 3}}},
    }
    text = table(["engine", "questions/s"], [["a", "1.0"]])
    assert text == "| engine | questions/s |\n| --- | --- |\n| a | 1.0 |"
    write(tmp_path / "run", {"all": 1}, text, last)
    assert (tmp_path / "run.json").read_text() == '{\n  "all": 1\n}\n'
    assert (tmp_path / "run.md").read_text() == text
    assert capsys.readouterr().out.splitlines()[-1].startswith('{"machine": "2 cores"')


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_processes_are_found_and_measured() -> None:
    # `Popen` returns while the program is still being loaded, with no page counted yet.
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"\n"
        assert child.pid in processes.children(os.getpid())
        assert {os.getpid(), child.pid} <= set(processes.tree(os.getpid()))
        assert {os.getpid(), child.pid} <= set(processes.family(os.getpid()))
        assert processes.running(child.pid)
        assert processes.pss_kib(child.pid) > 0
    assert processes.cpu_s(os.getpid()) > 0
    assert processes.status_kib("self", "VmHWM") >= processes.status_kib("self", "VmRSS") > 0
    ended = child.pid
    assert not processes.running(ended)
    assert (processes.cpu_s(ended), processes.pss_kib(ended), processes.children(ended)) == (
        0,
        0,
        [],
    )


def test_processor_time_of_the_machine_leaves_out_idling(tmp_path: Path) -> None:
    #      user nice system idle iowait irq softirq steal guest guest_nice
    text = "cpu  100  10   20     9999 8888   3   7       7777  0     0\ncpu0 ...\n"
    (tmp_path / "stat").write_text(text)
    assert processes.machine_cpu_s(tmp_path) == pytest.approx(1.40)
    assert processes.machine_cpu_s(tmp_path / "none") == 0
