"""What a run was measured on: processor, commit, and how fast it multiplies matrices."""

from __future__ import annotations

import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from service.engine.cpu import available_cpus

_SIDE = 1024  # too large for the caches of one core, small enough for many repetitions
_MEASURE_S = 0.5


@dataclass(frozen=True)
class Sgemm:
    """Floating point operations a second in fp32 matrix products: what an engine could reach."""

    one_core: float
    all_cores: float


def sgemm() -> Sgemm:
    """Measured with torch, whose thread count can be set; numpy's is fixed when it starts."""
    return Sgemm(_rate(1), _rate(available_cpus()))


def _rate(threads: int) -> float:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        left, right = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
        torch.mm(left, right)
        best_s, until = float("inf"), time.perf_counter() + _MEASURE_S
        while time.perf_counter() < until:
            started = time.perf_counter()
            torch.mm(left, right)
            best_s = min(best_s, time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return 2 * _SIDE**3 / best_s


def describe() -> str:
    """Cores and processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{available_cpus()} cores, {name}"


def commit() -> str | None:
    """The commit measured, marked where files differ from it; None without a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
