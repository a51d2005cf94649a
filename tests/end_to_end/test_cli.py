"""The commands, as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.api.keys import ApiKeys
from tests.end_to_end.conftest import ROOT


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
