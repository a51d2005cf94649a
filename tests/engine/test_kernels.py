"""The levels of kernels that there are on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine import kernels


def expected_levels() -> list[str]:
    """Levels of x86-64 that this machine should have: those that Linux lists, with a compiler."""
    cpu = Path("/proc/cpuinfo")
    flags = set(cpu.read_text().split()) if cpu.exists() and shutil.which("gcc") else set()
    needed = {
        "avx512vnni": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx2", "fma"},
        "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"},
        "avxvnni": {"avx_vnni", "avx2", "fma"},
        "avx2": {"avx2", "fma"},
    }
    return [level for level, names in needed.items() if names <= flags]


@pytest.mark.skipif(not expected_levels(), reason="no compiler or a processor without AVX2")
def test_kernels_are_there_where_they_can_be() -> None:
    assert list(kernels.levels()) == expected_levels()


def test_the_fastest_level_is_chosen() -> None:
    assert kernels.level("auto") == next(iter(kernels.levels()), "none")
    assert kernels.level("none") == "none"
    assert kernels.use("none") is None


def test_a_level_that_the_processor_lacks_is_refused() -> None:
    missing = next(level for level in kernels.LEVELS if level not in kernels.levels())
    with pytest.raises(kernels.LevelMissing, match=f"kernels {missing}: .*expected auto, none"):
        kernels.use(missing)
