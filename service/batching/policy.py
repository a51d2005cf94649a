"""How many of the waiting questions run next. Pure: values in, a value out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchLimits:
    """The most rows that an engine decodes at once, and the most tokens of those that join
    together.
    """

    rows: int
    tokens: int


def joining(lengths: Sequence[int], free: int, limits: BatchLimits, *, sharing: int = 1) -> int:
    """How many of the waiting questions join an engine with `free` rows now, the oldest first.

    `lengths` are in order of age. Who fits joins at once; in a backlog a quarter of the rows must
    be free first, because encoding one question at a time costs twice as much a question. `sharing`
    engines with nothing else to do leave each other an even share. The oldest joins whatever its
    length, so that none starves.
    """
    if not lengths or free < 1 or not enough_free(len(lengths), free, limits):
        return 0
    share = -(-len(lengths) // max(1, sharing))
    most = min(free, limits.rows, share)
    tokens, chosen = lengths[0], 1
    while chosen < most and tokens + lengths[chosen] <= limits.tokens:
        tokens += lengths[chosen]
        chosen += 1
    return chosen


def enough_free(waiting: int, free: int, limits: BatchLimits) -> bool:
    """Whether any of so many that wait would join an engine with `free` rows now."""
    return free >= min(waiting, max(1, limits.rows // 4))
