"""Packages in the working directory that have the names of ours, or of what ours import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.server import ROOT

COMMAND = Path(sys.executable).with_name("cybersolve")
FOREIGN = (
    "service",
    "equations",
    "deploy",
    "numpy",
    "onnxruntime",
    "tokenizers",
    "asyncio",
    "json",
)
CODE = """from pathlib import Path
Path(__file__).with_name("executed").touch()
raise SystemExit("code of the working directory was executed")
"""
# Verbs of the Makefile and documented commands run in the checkout, and so may its tests.
ROOMS = ("service", "engine", "deploy", "bench", "loadtest", "model_export", "training")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working directory full of packages that nobody should import."""
    for name in FOREIGN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(CODE)
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments],
        cwd=folder,
        env={**os.environ, "CYBERSOLVE_WORKERS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_solve_executes_nothing_of_the_working_directory(folder: Path) -> None:
    result = run(folder, "solve", "3x + 5 = 20")
    assert not list(folder.rglob("executed"))
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "(correct)"), result.stderr


def python_commands(room: str) -> Iterator[tuple[str, list[object]]]:
    """Every list in the code that names a module to run: where it stands, and its constants."""
    for path in sorted((ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List):
                words: list[object] = [
                    part.value for part in node.elts if isinstance(part, ast.Constant)
                ]
                if {"-m", "-c"} & {word for word in words if isinstance(word, str)}:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", words


def test_every_process_that_is_started_leaves_the_working_directory_off_its_path() -> None:
    found = [command for room in ROOMS for command in python_commands(room)]
    assert len(found) >= 8
    unsafe = [where for where, words in found if words[0] != "-P"]
    assert not unsafe


def test_the_images_start_python_without_the_working_directory() -> None:
    commands = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines()
        if '"-m"' in line or '"-c"' in line
    ]  # fmt: skip
    assert len(commands) == 2
    assert all('"-P", "-' in line for line in commands)
