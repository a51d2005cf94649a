"""The wheels, as `make wheel` builds them: for this processor, in an environment that has nothing
else of the project, and for ARM64, as far as an emulated processor goes.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deploy import wheels
from engine import kernels
from tests.engine.kernel_harness.definitions import wanted
from tests.engine.kernel_harness.emulation import HARNESS, SOURCES, assert_as_defined, run
from tests.engine.kernel_harness.shapes import edge_cases

ARM = "aarch64"
SYSROOT = Path("/usr/aarch64-linux-gnu")

pytestmark = pytest.mark.wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(platform.machine(), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def arm_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which(wheels.CROSS[ARM][0]):
        pytest.skip("needs Debian's gcc-aarch64-linux-gnu")
    return wheels.build(ARM, tmp_path_factory.mktemp("arm-wheel"))


@pytest.fixture(scope="module")
def emulated(arm_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command of the kernel harness around the library of the ARM64 wheel."""
    qemu = shutil.which("qemu-aarch64")
    if not qemu or not SYSROOT.exists():
        pytest.skip("needs Debian's qemu-user and libc6-dev-arm64-cross")
    folder = tmp_path_factory.mktemp("emulated")
    library = Path(zipfile.ZipFile(arm_wheel).extract("engine/kernels/library.abi3.so", folder))
    harness = folder / "harness"
    subprocess.run(
        [
            wheels.CROSS[ARM][0], "-std=gnu11", "-O1", f"-I{SOURCES}", str(HARNESS), str(library),
            f"-Wl,-rpath,{library.parent}", "-o", str(harness),
        ],
        check=True,
    )  # fmt: skip
    return [qemu, "-L", str(SYSROOT), "-cpu", "max", str(harness)]


def test_it_is_for_every_python_and_most_of_linux(wheel: Path) -> None:
    assert re.search(r"-cp311-abi3-\S*manylinux_2_\d+_x86_64\.whl", wheel.name), wheel.name


def test_the_wheel_for_arm_says_so(arm_wheel: Path) -> None:
    assert re.search(r"-cp311-abi3-\S*manylinux_2_\d+_aarch64\.whl", arm_wheel.name), arm_wheel.name


@pytest.mark.parametrize("fixture", ["wheel", "arm_wheel"])
def test_it_holds_the_kernels_and_the_model_and_no_sources_of_kernels(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    names = zipfile.ZipFile(request.getfixturevalue(fixture)).namelist()
    assert any(re.fullmatch(r"engine/kernels/library\.abi3\.so", name) for name in names)
    assert "models/cybersolve-mini/manifest.json" in names
    assert not [name for name in names if name.endswith((".c", ".h")) or "-checkpoint/" in name]
    assert not [name for name in names if re.fullmatch(r"engine/kernels/cuda/.*\.so", name)]


def test_kernels_for_a_gpu_that_were_compiled_here_are_left_out(tmp_path: Path) -> None:
    plain = tmp_path / "plain.whl"
    with zipfile.ZipFile(plain, "w") as written:
        written.writestr("engine/kernels/cuda/library.so", b"for this machine")
        written.writestr("engine/kernels/library.abi3.so", b"kept")
    wheels.leave_out(plain, "engine/kernels/cuda/library.so")
    with zipfile.ZipFile(plain) as left:
        assert [(name, left.read(name)) for name in left.namelist()] == [
            ("engine/kernels/library.abi3.so", b"kept")
        ]


@pytest.mark.parametrize("level", ["dotprod", "i8mm"])
def test_the_kernels_in_the_wheel_for_arm_compute_as_defined(
    emulated: list[str], level: str, tmp_path: Path
) -> None:
    """On an emulated processor, and without ONNX Runtime, which is not at hand for it."""
    golden = [(case, *wanted(case)) for case in edge_cases()]
    assert_as_defined(run(emulated, level, [case for case, *_ in golden], tmp_path), golden)


def test_without_a_cross_compiler_it_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    other = ARM if platform.machine() != ARM else "x86_64"
    assert wheels.main([other]) == 1
    compiler, package = wheels.CROSS[other]
    assert capsys.readouterr().err == (
        f"error: no wheel for {other}: needs {compiler} (Debian: {package})\n"
    )


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
