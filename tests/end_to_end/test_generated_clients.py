"""Clients that public generators make of the OpenAPI document, used against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.conftest import Server

PARTS = Path(__file__).parent / "generated"
PYTHON_GENERATOR = "openapi-python-client==0.29.1"
MODEL = "cybersolve-mini"
EXPECTED = {
    "answer": "5",
    "problem": [422, "the text has 2005 characters", "over!"],
    "batch": ["4", "over!", "the model does not read a number of 15 digits, over 12"],
    "kinds": ["answer", "problem", "problem"],
    "tensor": ["4"],
    "ready": "ready",
    "name": MODEL,
}
pytestmark = pytest.mark.ops


@pytest.fixture
def document(server: Server, tmp_path: Path) -> Path:
    """The document as the server gives it, and beside it the programs that use the clients."""
    shutil.copytree(PARTS, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "openapi.json"
    path.write_bytes(httpx.get(f"{server.url}/openapi.json").content)
    return path


def ran(folder: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def outcome(folder: Path, *command: str) -> Any:
    return json.loads(ran(folder, *command))


def test_a_python_client_reads_answers_problems_and_tensors(server: Server, document: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv")
    tool = [uv, "tool", "run", "--from", PYTHON_GENERATOR]
    made = document.parent / "cybersolve_generated"
    generate = ["generate", "--path", document.name, "--output-path", made.name, "--meta", "none"]
    ran(document.parent, *tool, "openapi-python-client", *generate)
    assert {path.stem for path in made.glob("api/solve/*.py")} == {
        "__init__",
        "solve",
        "solve_batch",
    }
    assert outcome(document.parent, *tool, "python", "use.py", server.url, MODEL) == EXPECTED


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node and npm")
def test_a_typescript_client_reads_answers_problems_and_tensors(
    server: Server, document: Path
) -> None:
    folder = document.parent
    ran(folder, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
    generator = "node_modules/@hey-api/openapi-ts/bin/index.cjs"
    ran(folder, "node", generator, "--input", document.name, "--output", "cybersolve")
    compiler = ["node", "node_modules/typescript/bin/tsc", "--strict", "--skipLibCheck"]
    target = ["--target", "es2022", "--module", "commonjs", "--moduleResolution", "node"]
    ran(folder, *compiler, *target, "--outDir", "js", "use.ts")
    assert outcome(folder, "node", "js/use.js", server.url, MODEL) == EXPECTED
