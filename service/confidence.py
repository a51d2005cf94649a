"""How sure a model was of its answer, by what its bundle knows of answers as likely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Knots = Sequence[tuple[float, float]]  # (log-probability, share that was right), both ascending


def confidence(knots: Knots, logprob: float) -> float:
    """The probability at `logprob`: linear between knots (`training.calibration`), level beyond."""
    logprobs, shares = zip(*knots, strict=True)
    return float(np.interp(logprob, logprobs, shares))
