"""Run the harness and compare what it gives with the operators' definitions."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.engine.kernel_harness.cases import Case, Result, read_results, write_cases

SOURCES = Path(__file__).resolve().parents[3] / "engine/kernels"
HARNESS = Path(__file__).parent / "harness.c"

Golden = list[tuple[Case, list[np.ndarray], float]]


def run(command: Sequence[str], level: str, cases: Sequence[Case], folder: Path) -> list[Result]:
    given, found = folder / "cases", folder / "results"
    write_cases(given, cases)
    done = subprocess.run(
        [*command, level, str(given), str(found)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return read_results(found, len(cases))


def assert_as_defined(found: Sequence[Result], golden: Golden) -> None:
    for (case, expected, tolerance), result in zip(golden, found, strict=True):
        assert not isinstance(result, str), (case.kind, result)
        for one, other in zip(result, expected, strict=False):
            assert one.shape == other.shape, case.kind
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=tolerance, err_msg=case.kind)
