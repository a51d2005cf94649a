"""`bench.cuda` on this machine's processor: the code that a GPU runs, with a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench.cuda import __main__ as cuda
from bench.cuda.agreement import Scored, compare
from bench.cuda.attention import kernels
from bench.cuda.measure.clock import timed
from bench.cuda.measure.pytorch import PyTorch
from bench.cuda.models import REAL, Model
from bench.cuda.plan import (
    CASES,
    PARITY,
    TIMES,
    TRACE,
    Case,
    engines,
    limit_s,
    none_of_ours_ran,
    steps,
)
from bench.cuda.processes import Processes, StepFailed
from bench.cuda.report import Report
from engine.sessions import has_cuda

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ROOT / ".venv-baselines/bin/python"


def report_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any]]:
    """Return the exit status of the command on a tiny model, and its report."""
    out = tmp_path / "report.json"
    arguments = ["--device", "cpu", "--shapes", "tiny", "--small", "--out", str(out)]
    status = cuda.main([*arguments, "--cache", str(tmp_path / "cache"), *options])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(out.read_text()) == report
    return status, report


def test_engines_are_compared_traced_and_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A baseline that is not installed costs its own figures alone."""
    absent = str(tmp_path / "python")
    status, report = report_of(
        tmp_path, capsys, "--baselines-python", absent, "--engines",
        "ours-fp16-auto", "pytorch-bf16-compiled", "ctranslate2-fp16",
    )  # fmt: skip
    found = report["shapes"]["tiny"]
    assert (status, report["finished"]) == (1, True)
    assert f"cannot start {absent}" in found["ctranslate2-fp16"]["status"]
    ours = found["ours-fp16-auto"]
    assert ours["parity"]["equal"] >= 60
    assert ours["parity"]["logprob_difference_max"] < 0.05
    assert ours["placement"]["CPUExecutionProvider"]["MatMul"] > 0
    assert ours["trace"]["status"] == "done"
    assert ours["trace"]["attention"] == {}  # the CPU's kernels print nothing
    for label in ("ours-fp16-auto", "pytorch-bf16-compiled"):
        assert found[label]["status"] == "done"
        assert len(found[label]["times"]) == 3
        assert all(one["per_s"] > 0 for one in found[label]["times"].values())
    assert set(report["prepared_s"]) == {"tiny checkpoint", "tiny bundle"}


@pytest.mark.baselines
def test_the_baselines_are_compared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, report = report_of(
        tmp_path, capsys, "--baselines-python", str(BASELINES), "--engines",
        "ctranslate2-fp16", "optimum",
    )  # fmt: skip
    assert status == 0
    for label in ("ctranslate2-fp16", "optimum"):  # in fp32, on a CPU
        assert report["shapes"]["tiny"][label]["parity"]["equal"] >= 63
        assert len(report["shapes"]["tiny"][label]["times"]) == 3


def test_without_time_nothing_starts_and_the_report_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor does the second shape, as no variant of ours ran on the first. What an earlier run has
    logged is not taken for this one's.
    """
    (tmp_path / "cache").mkdir()
    earlier = tmp_path / "cache/tiny-ours-fp16-auto-times.log"
    earlier.write_text("of an earlier run")
    status, report = report_of(
        tmp_path, capsys, "--seconds", "0.001", "--engines", "ours-fp16-auto",
        "--shapes", "tiny", "mini",
    )  # fmt: skip
    assert (status, report["finished"], list(report["shapes"])) == (1, False, ["tiny"])
    assert {entry["status"] for entry in report["shapes"]["tiny"].values()} == {
        "its files were not ready in 0 s"
    }
    assert "log" not in report["shapes"]["tiny"]["ours-fp16-auto"]


@pytest.mark.skipif(has_cuda(), reason="ONNX Runtime has CUDA here")
def test_without_a_gpu_the_command_fails_with_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cuda.main([]) == 1
    assert "this ONNX Runtime has no CUDA" in capsys.readouterr().err


def test_an_unknown_engine_is_named_with_those_that_there_are() -> None:
    with pytest.raises(SystemExit, match="--engines 'fast'; expected one of ours-fp16-auto, "):
        cuda.main(["--device", "cpu", "--engines", "fast"])


def test_the_reference_answers_as_the_trained_model_does(tmp_path: Path) -> None:
    """Without the tokens that its configuration suppresses, it would write nothing else."""
    model = Model(REAL, tmp_path)
    sources, most = model.questions()
    reference = PyTorch(model.checkpoint, "cpu", {"dtype": "float32"})
    found = reference.scored(sources[:4], most)
    recorded = json.loads((ROOT / "models/cybersolve-mini/reference.json").read_text())
    assert [one.tokens for one in found] == [case["tokens"] for case in recorded[:4]]


# -- the order of the work ---------------------------------------------------------------------


def test_parity_of_the_trained_model_comes_first_and_large_batches_before_small() -> None:
    chosen = [engine for engine in engines("cuda", ["none", "cuda"]) if engine.usual]
    ordered = steps(["mini", "flan-large", "flan-base"], chosen, {"mini"})
    assert all(step.work == PARITY for step in ordered if step.shape == "mini")
    assert [step.shape for step in ordered][:3] == ["mini"] * 3
    large = [step for step in ordered if step.shape == "flan-large"]
    works = [(step.engine.label, step.work) for step in large[:5]]
    assert works == [
        ("pytorch-fp32", PARITY),
        ("ours-fp16-none", TRACE), ("ours-fp16-cuda", TRACE),
        ("ours-fp16-none", TIMES), ("ours-fp16-cuda", TIMES),
    ]  # fmt: skip
    assert not [step for step in ordered if step.shape == "flan-base" and step.work == TRACE]
    assert ordered[-1].engine.label == "optimum"
    # Its compilation would take a minute of the ten, for answers that tell nothing of ours.
    compiled = [step.shape for step in ordered if "compiled" in step.engine.options]
    assert compiled == ["flan-large", "flan-base"]
    assert [case.rows for case in CASES[:2]] == [32, 128]


def test_a_run_stops_after_the_first_shape_if_none_of_our_variants_ran_on_it() -> None:
    ordered = steps(["mini", "flan-large"], engines("cuda", ["none", "cuda"]), {"mini"})
    first = [step for step in ordered if step.shape == "mini"]
    following = ordered[len(first)]
    failed = [(step, "exit status 1" if step.engine.ours else "done") for step in first]
    assert none_of_ours_ran(failed, following)
    assert not none_of_ours_ran(failed[:2], first[2])  # another variant may run
    one_ran = [(step, "done" if step.engine.label == "ours-fp16-cuda" else status)
               for step, status in failed]  # fmt: skip
    assert not none_of_ours_ran(one_ran, following)
    assert not none_of_ours_ran([], following)
    assert not none_of_ours_ran([(first[0], "done")], following)


def test_a_step_takes_what_is_left_but_none_that_could_not_load() -> None:
    (step, *_) = steps(["flan-large"], engines("cuda", ["none"]), set())
    assert limit_s(step, 1000.0) == step.limit_s
    assert limit_s(step, 20.0) == 20.0
    assert limit_s(step, 9.0) is None


def test_sources_of_a_case_are_the_same_for_every_engine() -> None:
    case = Case(4, 20, 4, questions=300, least_source_tokens=8)
    sources = case.sources(60)
    assert sources == case.sources(60)
    assert {len(source) for source in sources} == set(range(8, 21))
    assert all(source[-1] == 59 and max(source[:-1]) < 59 for source in sources)


def test_a_failed_step_has_the_end_of_its_log_in_the_report(tmp_path: Path) -> None:
    """Another machine's log cannot be read later, and its last line alone says too little."""
    log = tmp_path / "log"
    log.write_text("x" * 5000 + "\nlibcudnn.so.9: cannot open\nProviderMissing: see above\n")
    report = Report(tmp_path / "report.json")
    first, second, *_ = steps(["tiny"], engines("cuda", ["none"]), set())
    report.end(first, "done", log)
    report.end(second, "exit status 1: ProviderMissing: see above", log)
    written = json.loads((tmp_path / "report.json").read_text())["shapes"]["tiny"]
    assert "log" not in written["pytorch-fp32"]
    tail = written["ours-fp16-none"]["trace"]["log"]
    assert "libcudnn.so.9: cannot open" in tail
    assert len(tail) == 3000


# -- what the figures mean ---------------------------------------------------------------------


def test_agreement_counts_answers_and_reports_the_surest_difference() -> None:
    reference = [
        Scored([5, 6, 7], [-0.1, -0.2, -0.3], [1.0, 2.0, 3.0]),
        Scored([5, 6], [-0.1, -0.2], [1.0, 0.5]),
        Scored([8], [-0.1], [4.0]),
    ]
    found = [
        Scored([5, 6, 7], [-0.1, -0.25, -0.3]),
        Scored([5, 9], [-0.1, -9.0]),  # what follows a difference is not compared
        Scored([9], [-0.1]),
    ]
    result = compare(found, reference)
    assert (result["answers"], result["equal"], result["tokens_compared"]) == (3, 1, 4)
    assert result["worst_differences"][0] == {"row": 2, "position": 0, "lead": 4.0}
    assert result["logprob_difference_max"] == pytest.approx(0.05)
    shorter = compare([Scored([5])], [Scored([5, 6], [], [1.0, 2.0])])
    assert shorter["worst_differences"] == [{"row": 0, "position": 1, "lead": 2.0}]


def test_attention_kernels_are_counted_from_what_onnx_runtime_prints() -> None:
    cyan, reset = "\x1b[36m", "\x1b[0m"
    line = "Operator=GroupQueryAttention Node=layer.0 DataType=fp16 SdpaKernel=MATH"
    unnamed = "Operator=MultiHeadAttention DataType=fp16 SdpaKernel=EFFICIENT_ATTENTION"
    options = "AttentionKernelOptions: FLASH_ATTENTION=1 MATH=1"
    text = "\n".join(f"{cyan}{one}{reset}" for one in (options, line, unnamed, line))
    assert kernels(text) == {
        "GroupQueryAttention fp16 MATH": 2,
        "MultiHeadAttention fp16 EFFICIENT_ATTENTION": 1,
    }


def test_calls_are_warmed_up_and_timed_for_a_second_or_three_times() -> None:
    now, calls = 0.0, 0

    def call(cost_s: float) -> None:
        nonlocal now, calls
        now, calls = now + cost_s, calls + 1

    slow = timed(lambda: call(5.0), 10, clock=lambda: now)
    assert (slow["calls"], calls) == (3, 5)
    assert (slow["ms"], slow["per_s"]) == (5000.0, 2.0)
    assert timed(lambda: call(0.25), 1, clock=lambda: now)["calls"] == 4


# -- processes ---------------------------------------------------------------------------------

_STUCK = """
import json, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(json.dumps({"child": child.pid}), flush=True)
signal.pause()
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_module(tmp_path: Path, text: str, limit_s: float) -> list[dict[str, Any]]:
    (tmp_path / "module_for_test.py").write_text(text)
    results: list[dict[str, Any]] = []
    try:
        Processes(tmp_path).run(
            "one", ["module_for_test"], python=Path(sys.executable), limit_s=limit_s,
            on_result=results.append,
            environment={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
        )  # fmt: skip
    except StepFailed as error:
        results.append({"failed": str(error)})
    return results


def test_a_process_at_its_limit_ends_with_its_children_and_keeps_its_results(
    tmp_path: Path,
) -> None:
    first, last = run_module(tmp_path, _STUCK, 3.0)
    assert last == {"failed": "stopped after 3 s"}
    deadline = time.monotonic() + 10
    while alive(first["child"]):
        assert time.monotonic() < deadline


_STARTER = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-P", "-m", *sys.argv[1:]])
print(child.pid, flush=True)
signal.pause()
"""


def test_a_measuring_process_ends_with_the_command_that_is_killed(tmp_path: Path) -> None:
    """It waits for its task from a pipe, which can be opened for writing once it is that far."""
    task = tmp_path / "task"
    os.mkfifo(task)
    command = [sys.executable, "-c", _STARTER, "bench.cuda.measure", str(task)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as starter:
        assert starter.stdout is not None
        measuring = int(starter.stdout.readline())
        deadline = time.monotonic() + 30
        while (writer := opened(task)) is None:
            assert time.monotonic() < deadline
            assert alive(measuring)
        starter.kill()
    while alive(measuring):
        assert time.monotonic() < deadline
    os.close(writer)


def opened(pipe: Path) -> int | None:
    """Return a handle to write to a named pipe; None while nobody reads it."""
    try:
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def test_a_process_that_fails_gives_the_last_line_of_its_log(tmp_path: Path) -> None:
    (only,) = run_module(tmp_path, 'raise ValueError("no such card")', 20.0)
    assert only == {"failed": "exit status 1: ValueError: no such card"}


def test_nothing_starts_after_the_end(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.close()
    with pytest.raises(StepFailed, match="the comparison ended"):
        processes.run("late", ["json.tool"], python=Path("python"), limit_s=1.0)
