"""Measure the fp32 GEMM throughput of the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from engine.cpu import available_cpus

_SIDE = 1024  # too large for the caches of one core, small enough for many repetitions
_MEASURE_S = 0.5


@dataclass(frozen=True)
class Sgemm:
    """FLOP/s of fp32 matrix products."""

    one_core: float
    all_cores: float


def sgemm() -> Sgemm:
    """Measure with torch, whose thread count can be set; numpy's is fixed when it starts."""
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
