"""Turn a score that orders answers into the probability that they are right. Pure functions.

Isotonic regression (Zadrozny and Elkan 2002) by pooling adjacent violators: the probability never
falls as the score rises, and no other shape is assumed. A pooled block of `n` questions of which
`k` were right says (k + 1) / (n + 2), Laplace's rule of succession: what was right a thousand times
out of a thousand may still be wrong the next time, so no probability is ever 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Knots = list[
    tuple[float, float]
]  # (score, probability), rising scores, never falling probabilities
MOST_KNOTS = 30


@dataclass(frozen=True)
class _Block:
    """Neighbouring questions that share one probability."""

    low: float  # the lowest score
    high: float
    weight: float
    value: float

    def merged(self, higher: _Block) -> _Block:
        weight = self.weight + higher.weight
        value = (self.weight * self.value + higher.weight * higher.value) / weight
        return _Block(self.low, higher.high, weight, value)


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the non-decreasing sequence nearest to `values`, in weighted least squares."""
    blocks = _pooled(
        [_Block(i, i, w, v) for i, (v, w) in enumerate(zip(values, weights, strict=True))]
    )
    return [block.value for block in blocks for _ in range(int(block.high - block.low) + 1)]


def fit(scores: Sequence[float], right: Sequence[bool], *, most_knots: int = MOST_KNOTS) -> Knots:
    """Return at most `most_knots` (2 or more) knots to interpolate between.

    Each block of one probability gives a knot at either end. If there are too many blocks, the
    neighbours with the least weighted squared loss are merged (Ward 1963).

    Raises `ValueError` for no scores, or scores that are not finite.
    """
    if not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"{len(scores)} scores; expected at least one, and all of them finite")
    distinct, places = np.unique(np.asarray(scores, dtype=float), return_inverse=True)
    counts = np.bincount(places).tolist()
    shares = (np.bincount(places, weights=np.asarray(right, dtype=float)) / counts).tolist()
    groups = zip(distinct.tolist(), counts, shares, strict=True)
    blocks = _pooled([_Block(score, score, count, share) for score, count, share in groups])
    # Small blocks are pulled more: that can upset the order, which pooling restores.
    blocks = _pooled([_Block(b.low, b.high, b.weight, _succession(b)) for b in blocks])
    while len(blocks) > most_knots // 2:
        losses = [_loss(one, other) for one, other in pairwise(blocks)]
        i = losses.index(min(losses))
        blocks[i : i + 2] = [blocks[i].merged(blocks[i + 1])]
    ends = [(block, end) for block in blocks for end in sorted({block.low, block.high})]
    return [(end, block.value) for block, end in ends]


def _pooled(blocks: Sequence[_Block]) -> list[_Block]:
    """Merge neighbours until values rise."""
    pooled: list[_Block] = []
    for block in blocks:
        pooled.append(block)
        while len(pooled) > 1 and pooled[-2].value >= pooled[-1].value:
            higher = pooled.pop()
            pooled[-1] = pooled[-1].merged(higher)
    return pooled


def _succession(block: _Block) -> float:
    return (block.weight * block.value + 1) / (block.weight + 2)


def _loss(one: _Block, other: _Block) -> float:
    share = one.weight * other.weight / (one.weight + other.weight)
    return float(share * (one.value - other.value) ** 2)


@dataclass(frozen=True)
class Bin:
    """Questions of similar confidence, and the share that was right."""

    questions: int
    right: int
    confidence: float  # mean


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Return bins of equal counts by rising confidence.

    Questions of equal confidence share a bin, so there may be fewer bins than asked for.
    """
    if not len(confidences):
        return []
    order = np.argsort(confidences, kind="stable")
    rising = np.asarray(confidences, dtype=float)[order]
    hits = np.asarray(right, dtype=bool)[order]
    wanted = np.arange(1, bins + 1) * len(rising) // bins
    ends = np.searchsorted(rising, rising[np.maximum(wanted, 1) - 1], side="right")
    cuts = np.unique(ends)[:-1]
    pairs: zip[tuple[NDArray[np.float64], NDArray[np.bool_]]]
    pairs = zip(np.split(rising, cuts), np.split(hits, cuts), strict=True)
    return [Bin(len(c), int(h.sum()), float(c.mean())) for c, h in pairs]


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean distance of confidence from the share that was right (Naeini 2015)."""
    total = sum(b.questions for b in bins)
    return sum(abs(b.questions * b.confidence - b.right) for b in bins) / total


def brier(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Return the mean squared distance of confidence from 1 if right, 0 if wrong (Brier 1950)."""
    off = np.asarray(confidences, dtype=float) - np.asarray(right, dtype=float)
    return float(np.mean(off**2))
