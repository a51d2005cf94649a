"""Draw one of a row's likeliest tokens by a number that belongs to a seed and a position.

The numbers are Philox's (Salmon et al. 2011), a counter-based generator: whatever shares the batch,
and whichever process decodes, a seed gives the same number at the same position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.contracts import Decoding

_ROUNDING = 2.0**-24  # of a number in fp32, relative
_MOST_ERROR = 1e-3  # of a probability, relative
MOST_RANKED = 64  # tokens that are put in order at first where `top_k` sets no limit


def uniforms(seed: int, sample: int, positions: int) -> list[float]:
    """Return a number above 0 and below 1 for each position of a prompt's `sample`th answer."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, sample], np.uint64)))
    # In the middle of steps of 2^-23: fp32 has all of them, and neither 0 nor 1 is among them.
    steps = generator.integers(0, 1 << 23, positions)
    numbers: list[float] = ((steps + 0.5) / (1 << 23)).tolist()
    return numbers


def rankings_of(decoding: Decoding) -> int:
    """Return how many tokens must be put in order; 0 where a draw needs no order."""
    if decoding.top_k:
        return decoding.top_k
    return MOST_RANKED if decoding.top_p < 1 or decoding.min_p > 0 else 0


def needs_all(decoding: Decoding) -> bool:
    """Return True where probabilities are those among all tokens."""
    return decoding.top_k == 0


def choose(
    decoding: Decoding, scores: Sequence[float], total: float | None, uniform: float, width: int
) -> int | None:
    """Return the index of the drawn one of `scores`, which are in descending order.

    `total` is the logarithm of the sum of e^(score / temperature) over all `width` tokens; `None`
    where only these count. Returns `None` where tokens that are not among them may have to be kept.
    Source: the warpers of transformers for temperature, top_k, top_p and min_p, in this order.
    """
    if scores[0] == -math.inf:
        return 0  # all are banned, and have no probabilities
    cooled = np.array(scores) / decoding.temperature
    weights = np.exp(cooled - cooled[0])
    whole: float | None = weights.sum()
    if is_part := total is not None and len(scores) < width:
        whole = _sum_over_all(cooled[0], total, weights, width)
    if whole is None:
        return None
    probabilities = weights / whole
    before = probabilities.cumsum() - probabilities
    kept = (before < decoding.top_p) & (probabilities >= decoding.min_p * probabilities[0])
    kept[0] = True
    if kept[-1] and is_part:
        return None
    count = int(kept.sum())  # the first ones: both conditions fail for good
    summed = probabilities[:count].cumsum()
    return int(np.searchsorted(summed, uniform * summed[-1], side="right"))


def _sum_over_all(
    largest: float, total: float, weights: npt.NDArray[np.float64], width: int
) -> float | None:
    """Return the sum of the weights of all tokens, of which `weights` has the largest ones.

    `total` is the sum's logarithm plus `largest`, in fp32: at a temperature near 0 both are so
    large that their difference says nothing. Then the largest weights are the sum, unless the
    others may add to it: `None`.
    """
    if abs(largest) * _ROUNDING < _MOST_ERROR:
        return math.exp(total - largest)
    return weights.sum() if weights[-1] * width < _MOST_ERROR else None
