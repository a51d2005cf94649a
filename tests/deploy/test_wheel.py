"""The wheel, as `make wheel` builds it, in an environment that has nothing else of the project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from engine import kernels

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)],
        check=True,
    )  # fmt: skip
    (plain,) = folder.glob("*.whl")
    subprocess.run(
        ["auditwheel", "repair", "--wheel-dir", str(folder / "tagged"), str(plain)],
        check=True, env=environment,
    )  # fmt: skip
    (built,) = (folder / "tagged").glob("*.whl")
    return built


def test_it_is_for_every_python_and_most_of_linux(wheel: Path) -> None:
    assert re.search(r"-cp311-abi3-\S*manylinux_2_\d+_x86_64\.whl", wheel.name), wheel.name


def test_it_holds_the_kernels_and_the_model_and_no_sources_of_kernels(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(re.fullmatch(r"engine/kernels/library\.abi3\.so", name) for name in names)
    assert "models/cybersolve-mini/manifest.json" in names
    assert not [name for name in names if name.endswith((".c", ".h")) or "checkpoint/" in name]


def test_it_solves_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv/bin/python"
    subprocess.run([str(python), "-m", "pip", "install", "-q", f"{wheel}[cpu]"], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for level in ("auto", "none", *kernels.levels()):
        solved = subprocess.run(
            [str(tmp_path / "venv/bin/cybersolve"), "solve", "3x + 5 = 20"],
            cwd=elsewhere, env={**environment, "CYBERSOLVE_KERNELS": level},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert "5" in solved.stdout, level
    code = "from engine import kernels; print(kernels.level())"
    done = subprocess.run(
        [str(python), "-c", code], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == kernels.level()
