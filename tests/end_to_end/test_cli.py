"""The commands, as processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engine.bundle import MANIFEST, fingerprint
from service.api.keys import ApiKeys
from tests.end_to_end.conftest import ROOT

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


def test_solve_prints_the_work_and_the_verdict() -> None:
    result = cybersolve("solve", "3x + 5 = 20")
    assert result.returncode == 0
    assert result.stdout.splitlines() == ["3*x + 5 = 20", "3*x = 15", "x = 5", "(correct)"]


def test_solve_points_at_the_fault() -> None:
    result = cybersolve("solve", "3x + = 20")
    assert result.returncode == 1
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
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1] == "error: the engine ended before it was ready"


def test_batch_answers_each_line_in_order(tmp_path: Path) -> None:
    questions = [f"{a}x + {b} = {a * 3 + b}" for a in range(1, 9) for b in range(40)]
    questions[7] = "what?"
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"question": question}) + "\n" for question in questions)
    )
    result = cybersolve(
        "batch", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--fallback", "exact"
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["question"] for line in lines] == questions
    assert lines[7]["error"].startswith("no equation at character 1")
    assert {line["answer"] for i, line in enumerate(lines) if i != 7} == {"3"}


def test_a_key_is_shown_once_and_its_line_lets_it_in(tmp_path: Path) -> None:
    result = cybersolve("key", "alice")
    assert result.returncode == 0
    (key,) = result.stdout.splitlines()
    *_, line = result.stderr.splitlines()
    (tmp_path / "keys").write_text(line)
    assert ApiKeys(tmp_path / "keys").owner(key.encode()) == "alice"
    assert cybersolve("key", "a b").stderr.startswith("error: 'a b' is no name of a key")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"question": "x = 1"}\nnonsense\n', "in.jsonl:2: not JSON"),
        ('{"query": "x = 1"}\n', 'in.jsonl:1: expected {"question": "..."}'),
    ],
)
def test_batch_says_which_line_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "in.jsonl").write_text(text)
    result = cybersolve("batch", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"))
    assert result.returncode == 1
    assert complaint in result.stderr
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"CYBERSOLVE_MODEL": "/nowhere"}, "error: /nowhere is not a bundle"),
        (
            {"CYBERSOLVE_MODEL": "google/flan-t5-small"},
            "error: google/flan-t5-small is not a bundle: there is no such folder; expected the "
            "folder of a bundle, not a hub's name",
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
