"""Define "flat" for a series of measurements: a bound on its trend after a warm-up."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def growth(samples: Sequence[float]) -> float:
    """From the third quarter to the last, as means: the first half is warm-up.

    Of something that leaks steadily, that is a quarter of what it leaks in all.
    """
    if len(samples) < 8:
        raise ValueError(f"{len(samples)} measurements say nothing of a trend; expected 8")
    half, last = len(samples) // 2, len(samples) * 3 // 4
    return fmean(samples[last:]) - fmean(samples[half:last])
