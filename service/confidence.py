"""Turn the log-probability of an answer into a calibrated confidence."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

Knots = Sequence[tuple[float, float]]  # (log-probability, share of right answers), both ascending


def confidence(knots: Knots, logprob: float) -> float:
    """Return the probability at `logprob`: linear between knots, constant beyond them.

    Knots come from `training.calibration`.
    """
    above = bisect_right(knots, (logprob, 1.0))
    if above in (0, len(knots)):
        return knots[max(0, above - 1)][1]
    (left, low), (right, high) = knots[above - 1], knots[above]
    return low + (high - low) * (logprob - left) / (right - left)
