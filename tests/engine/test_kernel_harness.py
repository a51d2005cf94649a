"""Kernels without ONNX Runtime: under sanitizers, and those of ARM64 on an emulated processor.

The harness is compiled anew (`make kernel-test`); what it gives is compared with the operators'
definitions, which ONNX Runtime computes.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engine import kernels
from tests.engine.kernel_harness.cases import Case, write_cases
from tests.engine.kernel_harness.definitions import wanted
from tests.engine.kernel_harness.emulation import HARNESS, SOURCES, Golden, assert_as_defined, run
from tests.engine.kernel_harness.lying import lying_cases
from tests.engine.kernel_harness.shapes import edge_cases

STRICT = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
# Without those of UBSan's checks that ASan makes too: they double the time to compile.
SANITIZED = (
    *STRICT, "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
    "-fno-sanitize=alignment,null,object-size",
)  # fmt: skip

pytestmark = pytest.mark.kernels


def compiled(compiler: str, flags: Sequence[str], out: Path) -> Path:
    sources = map(str, sorted(SOURCES.glob("*.c")))
    subprocess.run(
        [compiler, *flags, f"-I{SOURCES}", "-o", str(out), str(HARNESS), *sources, "-lm"],
        check=True,
    )
    return out


@pytest.fixture(scope="module")
def golden() -> Golden:
    """Each case with what it must give, and how far a number may be from it."""
    return [(case, *wanted(case)) for case in edge_cases()]


@pytest.fixture(scope="session")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if not shutil.which("gcc") or platform.machine() != "x86_64":
        pytest.skip("needs gcc on x86-64")
    return [str(compiled("gcc", SANITIZED, tmp_path_factory.mktemp("sanitized") / "harness"))]


@pytest.fixture(scope="session")
def optimised(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The harness as the kernels are shipped, which compiles without a warning."""
    if not shutil.which("gcc") or platform.machine() != "x86_64":
        pytest.skip("needs gcc on x86-64")
    return str(compiled("gcc", (*STRICT, "-O3"), tmp_path_factory.mktemp("optimised") / "harness"))


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The harness for ARM64, run by qemu's user emulation."""
    compiler, qemu = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if not compiler or not qemu:
        pytest.skip("needs Debian's gcc-aarch64-linux-gnu and qemu-user")
    flags = (*STRICT, "-O3", "-static")
    harness = compiled(compiler, flags, tmp_path_factory.mktemp("emulated") / "harness")
    return [qemu, "-cpu", "max", str(harness)]


@pytest.mark.parametrize("level", [name for name in kernels.LEVELS if name.startswith("avx")])
def test_edge_shapes_under_sanitizers(
    sanitized: list[str], golden: Golden, level: str, tmp_path: Path
) -> None:
    if level not in kernels.levels():
        pytest.skip("this processor cannot run the level")
    cases = [case for case, *_ in golden]
    assert_as_defined(run(sanitized, level, cases, tmp_path), golden)


@pytest.mark.parametrize("level", [name for name in kernels.LEVELS if name.startswith("avx")])
def test_lying_shapes_are_errors(sanitized: list[str], level: str, tmp_path: Path) -> None:
    if level not in kernels.levels():
        pytest.skip("this processor cannot run the level")
    cases, complaints = zip(*lying_cases(), strict=True)
    for result, complaint in zip(run(sanitized, level, cases, tmp_path), complaints, strict=True):
        assert isinstance(result, str), f"computed instead of: {complaint}"
        assert complaint in result


def test_threads_share_what_is_worth_waking_them(optimised: str, tmp_path: Path) -> None:
    """Each operator has less to do in the first case, and more in the second."""
    weight = np.zeros((198, 128, 16), np.float32)
    pairs = [
        [
            Case(
                "NormLinearFloat", {"x": np.zeros((1, rows, 128), np.float32)}, {"weight": weight},
                {"epsilon": 1e-6, "columns": 3164},
            ),
            Case("Likeliest", {"logits": np.zeros((16 * rows, 1, 3164), np.float32)}, outputs=2),
        ]
        for rows in (1, 8)
    ]  # fmt: skip
    write_cases(tmp_path / "cases", [*pairs[0], *pairs[1]])
    level = kernels.levels()[0]
    command = [optimised, level, str(tmp_path / "cases"), str(tmp_path / "results")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["NormLinearFloat shared", "Likeliest shared"]


@pytest.mark.parametrize("level", ["dotprod", "i8mm"])
def test_levels_of_arm(emulated: list[str], golden: Golden, level: str, tmp_path: Path) -> None:
    cases = [case for case, *_ in golden]
    assert_as_defined(run(emulated, level, cases, tmp_path), golden)


def test_an_arm_processor_without_matrix_products_refuses_their_level(
    emulated: list[str], tmp_path: Path
) -> None:
    qemu, _, _, harness = emulated
    write_cases(tmp_path / "cases", [])
    refused = subprocess.run(
        [qemu, "-cpu", "cortex-a76", harness, "i8mm", str(tmp_path / "cases"), "/dev/null"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "does not have the level" in refused.stderr
