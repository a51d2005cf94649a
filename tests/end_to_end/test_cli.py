"""The commands, as processes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.bundle import MANIFEST, fingerprint
from engine.cpu import available_cpus
from service.api.keys import ApiKeys
from tests.end_to_end.conftest import ROOT, START_S
from tests.signals import heed_signals

BUNDLED = ROOT / "models/cybersolve-mini"


def cybersolve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    result = cybersolve("--version")
    assert result.returncode == 0
    assert result.stdout == f"cybersolve {project['version']}\n"


def test_inspect_prints_a_bundles_needs_and_finds_damage(tmp_path: Path) -> None:
    result = cybersolve("inspect", str(BUNDLED), "--workers", "2", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["pod"]["env"]["CYBERSOLVE_WORKERS"] == "2"
    damaged = shutil.copytree(BUNDLED, tmp_path / "damaged")
    (damaged / "decoder.onnx").write_bytes(b"none")
    result = cybersolve("inspect", str(damaged))
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {damaged / 'decoder.onnx'}: 4 bytes; the manifest")


def test_solve_prints_the_work_and_the_verdict() -> None:
    result = cybersolve("solve", "3x + 5 = 20")
    assert result.returncode == 0
    assert result.stdout.splitlines() == ["3*x + 5 = 20", "3*x = 15", "x = 5", "(correct)"]


def test_solve_prints_the_steps_of_a_system() -> None:
    result = cybersolve("solve", "Suppose 3*b - 5 = 10. Solve b*x = 15 for x.")
    assert result.returncode == 0
    equations, *work, verdict = result.stdout.splitlines()
    assert (equations, verdict) == ("3*b - 5 = 10, b*x = 15", "(correct)")
    assert work == ["3*b = 15", "b = 5", "5*x = 15", "x = 3"]


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ("2j + 10982 = -1357032", 1),  # the model loses a digit
        ("x + 1 = x + 2", 1),
        ("3x + = 20", 2),
        ("x*x = 4", 2),
        ("1" * 50 + "x = 1", 2),
    ],
)
def test_solve_exits_1_where_the_answer_is_not_correct_and_2_where_it_is_not_understood(
    question: str, status: int
) -> None:
    assert cybersolve("solve", question).returncode == status


def test_solve_points_at_the_fault() -> None:
    result = cybersolve("solve", "3x + = 20")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-2:] == ["  3x + = 20", "       ^"]


def test_an_engine_that_cannot_start_ends_the_command(tmp_path: Path) -> None:
    """Its files are those of its manifest, but ONNX Runtime does not load them."""
    manifest = json.loads((BUNDLED / MANIFEST).read_text())
    for file in BUNDLED.iterdir():
        if file.is_file():
            content = b"not a graph" if file.suffix == ".onnx" else file.read_bytes()
            (tmp_path / file.name).write_bytes(content)
            if file.name in manifest["files"]:
                manifest["files"][file.name] = fingerprint(tmp_path / file.name)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path / "in.jsonl").write_text('{"question": "x = 1"}\n')
    batch = ("batch", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    for command in (("solve", "x = 1"), batch):
        result = cybersolve(*command, CYBERSOLVE_MODEL=str(tmp_path))
        assert result.returncode == 3
        reason = result.stderr.splitlines()[-1]
        assert reason.startswith("error: the engine ended before it was ready")


@pytest.mark.parametrize("command", [["solve", "x = 1"], ["batch", "-"]])
def test_a_model_that_cannot_be_run_is_status_3(command: list[str]) -> None:
    result = cybersolve(*command, CYBERSOLVE_MODEL="/nowhere")
    assert result.returncode == 3
    assert result.stderr.splitlines()[-1].startswith("error: /nowhere: no such folder")


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_batch_answers_each_line_in_its_place(tmp_path: Path) -> None:
    questions = [f"{a}x + {b} = {a * 3 + b}" for a in range(1, 9) for b in range(40)]
    questions[7] = "what?"
    written = [json.dumps({"id": i, "question": text}) for i, text in enumerate(questions)]
    written[9:9] = ["", "nonsense"]
    (tmp_path / "in.jsonl").write_text("\n".join(written))
    result = cybersolve(
        "batch", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--fallback", "exact"
    )
    assert result.returncode == 1, result.stderr
    *_, summary = result.stderr.splitlines()
    assert re.match(r"321 rows in [\d.]+ s: 319 correct, 2 errors; first error: ", summary)
    lines = lines_of(tmp_path / "out.jsonl")
    assert lines.pop(9) == {
        "input": "nonsense",
        "error": "line 11: not JSON: Expecting value at character 1",
    }
    assert [line["question"] for line in lines] == questions
    assert [line["id"] for line in lines] == list(range(len(questions)))
    assert lines[7]["error"].startswith("no equation at character 1")
    assert {line["answer"] for i, line in enumerate(lines) if i != 7} == {"3"}


def test_batch_streams_from_stdin_to_stdout_while_more_is_to_come() -> None:
    """Its input stays open: the answer to the first line does not wait for the last."""
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "batch", "-"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for number in (2, 3):
            process.stdin.write(json.dumps({"id": number, "question": f"{number}x = 6"}) + "\n")
            process.stdin.flush()
            line = json.loads(process.stdout.readline())
            assert (line["id"], line["answer"]) == (number, str(6 // number))
        _, said = process.communicate()
    assert process.returncode == 0
    assert "2 rows in" in said


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_ends_early_is_resumed(tmp_path: Path, ending: signal.Signals) -> None:
    questions = [f"{a}x + {b} = {a * 3 + b}" for a in range(1, 17) for b in range(100)]
    (tmp_path / "in.csv").write_text("".join(f"{text}\n" for text in ["question", *questions]))
    command = ["batch", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--resume"]
    results = tmp_path / "out.csv.parts" / "results.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", *command],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals,  # noqa: PLW1509  # only resets signals
    )  # fmt: skip
    deadline = time.monotonic() + START_S
    while not results.exists() or results.stat().st_size < 1000:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(ending)
    _, said = process.communicate(timeout=START_S)
    if ending == signal.SIGINT:
        assert process.returncode == 130
        assert said.splitlines()[-1] == "interrupted; --resume continues"
    assert not (tmp_path / "out.csv").exists()
    result = cybersolve(*command)
    assert result.returncode == 0, result.stderr
    assert "of them from an earlier run: 1,600 correct" in result.stderr
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == questions
    assert {row["answer"] for row in rows} == {"3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_reader_that_ends_early_ends_the_batch_without_a_traceback(tmp_path: Path) -> None:
    questions = (json.dumps({"question": f"{n}x = {n}"}) for n in range(1, 5000))
    (tmp_path / "in.jsonl").write_text("\n".join(questions))
    command = f"{sys.executable} -m service.cli batch {tmp_path}/in.jsonl | head -1"
    result = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(result.stdout)["answer"] == "1"
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("text", "output", "complaint"),
    [
        (None, "out.jsonl", "in.csv: No such file or directory"),
        ("a,b\n1,2\n", "out.jsonl", "in.csv: expected a column `question`; found a, b"),
        ("question\nx = 1\n", "in.csv", "in.csv is the input; name another output"),
        ("question\nx = 1\n", "old.jsonl", "old.jsonl exists; --overwrite replaces it"),
        ("question\nx = 1\n", "no/out.jsonl", "no/out.jsonl: there is no such folder"),
        ("question\nx = 1\n", ".", "is a folder; name a file in it"),
    ],
)
def test_batch_says_in_one_line_what_it_cannot_use(
    tmp_path: Path, text: str | None, output: str, complaint: str
) -> None:
    if text is not None:
        (tmp_path / "in.csv").write_text(text)
    (tmp_path / "old.jsonl").write_text("precious")
    before = sorted(tmp_path.iterdir())
    result = cybersolve("batch", str(tmp_path / "in.csv"), str(tmp_path / output))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert complaint in line
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "old.jsonl").read_text() == "precious"


@pytest.mark.parametrize(
    "redirected", ["batch - in.csv --overwrite < in.csv", "batch in.csv >> in.csv"]
)
def test_batch_knows_its_input_behind_a_redirection(tmp_path: Path, redirected: str) -> None:
    (tmp_path / "in.csv").write_text("question\nx = 1\n")
    script = f"exec {sys.executable} -m service.cli {redirected}".replace(
        "in.csv", str(tmp_path / "in.csv")
    )
    result = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "is the input; name another output" in result.stderr
    assert (tmp_path / "in.csv").read_text() == "question\nx = 1\n"


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path) -> None:
    result = without("pyarrow", "service.cli", "batch", "-", str(tmp_path / "out.parquet"))
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: Parquet needs pyarrow, which the extra `parquet` installs: ")


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["serve", "models/cybersolve-mini-checkpoint"], "onnx"),
        (["serve", "google/flan-t5-base"], "huggingface_hub"),
        (["upgrade", "models/cybersolve-mini"], "onnx"),
    ],
)
def test_conversion_without_its_packages_names_the_extra(
    tmp_path: Path, command: list[str], package: str
) -> None:
    result = without(package, "service.cli", *command, CYBERSOLVE_MODEL_CACHE=str(tmp_path))
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    *_, line = result.stderr.splitlines()
    assert line == (
        f"error: {command[1]}: the package {package} is missing; install the extra `convert`: "
        "pip install 'cybersolve[cpu,convert]'"
    )


@pytest.mark.parametrize(
    ("module", "words", "package"),
    [
        ("training", "--help", "torch"),
        ("model_export", "export runs/mini --out bundle", "torch"),
        ("loadtest", "rate --rates 1 --seconds 1", "locust"),
    ],
)
def test_development_commands_name_a_missing_package(module: str, words: str, package: str) -> None:
    result = without(package, f"{module}.__main__", *words.split())
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: the package {package} is missing; run pip install ")


def without(
    package: str, module: str, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the `main` of a module in a process that cannot import `package`."""
    program = (
        f"import sys; sys.modules[{package!r}] = None; import {module} as run; "
        "sys.exit(run.main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_key_is_shown_once_and_its_line_lets_it_in(tmp_path: Path) -> None:
    result = cybersolve("key", "alice")
    assert result.returncode == 0
    (key,) = result.stdout.splitlines()
    *_, line = result.stderr.splitlines()
    (tmp_path / "keys").write_text(line)
    assert ApiKeys(tmp_path / "keys").owner(key.encode()) == "alice"
    assert cybersolve("key", "a b").stderr.startswith("error: 'a b' is no name of a key")


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"CYBERSOLVE_MODEL": "/nowhere"}, "error: /nowhere: no such folder"),
        (
            {"CYBERSOLVE_MODEL": "google/flan-t5-small", "HF_HUB_OFFLINE": "1"},
            "error: google/flan-t5-small: there is no folder of that name, and the hub cannot be "
            "reached",
        ),
        ({"CYBERSOLVE_PORT": "70000"}, "error: CYBERSOLVE_PORT is 70000; expected 0 to 65535"),
        ({"CYBERSOLVE_METRICS_PORT": "65536"}, "error: CYBERSOLVE_METRICS_PORT is 65536"),
        ({"CYBERSOLVE_HOST": "nowhere.invalid"}, "error: cannot listen on nowhere.invalid:8000: "),
        ({"CYBERSOLVE_PROVIDER": "cuda"}, "error: provider cuda: this installation"),
        ({"CYBERSOLVE_API_KEYS_FILE": "/nowhere"}, "error: /nowhere: No such file or directory"),
        ({"CYBERSOLVE_PORT": "http"}, "error: CYBERSOLVE_PORT is 'http'; expected int"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(
    environment: dict[str, str], complaint: str
) -> None:
    result = cybersolve("serve", **environment)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    *before, last = result.stderr.splitlines()
    assert last.startswith(complaint)
    assert all(line.startswith("INFO") for line in before)


def test_processes_that_would_not_help_are_not_started() -> None:
    asked = available_cpus() + 1
    nowhere = {"CYBERSOLVE_HOST": "nowhere.invalid"}  # the service ends before it starts a process
    result = cybersolve("serve", "--processes", str(asked), **nowhere)
    assert f": CYBERSOLVE_PROCESSES is {asked}; there is one for every two cores" in result.stderr
    assert "cannot listen" in result.stderr.splitlines()[-1]
    both = cybersolve("serve", "--processes", "2", "--workers", "2", **nowhere)
    assert "WARNING" not in both.stderr


@pytest.mark.parametrize("knob", ["CYBERSOLVE_PORT", "CYBERSOLVE_METRICS_PORT"])
def test_a_port_in_use_is_the_last_line(knob: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = cybersolve("serve", **{"CYBERSOLVE_PORT": "0", knob: port})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use; "
        f"{knob} names another port"
    )
