"""How sure a model was of its answer, by what its bundle knows of answers as likely."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

Knots = Sequence[tuple[float, float]]  # (log-probability, share that was right), both ascending


def confidence(knots: Knots, logprob: float) -> float:
    """The probability at `logprob`: linear between knots (`training.calibration`), level beyond."""
    above = bisect_right(knots, (logprob, 1.0))
    if above in (0, len(knots)):
        return knots[max(0, above - 1)][1]
    (left, low), (right, high) = knots[above - 1], knots[above]
    return low + (high - low) * (logprob - left) / (right - left)
