"""Decide how many waiting jobs join an engine. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchLimits:
    """Limit the rows that an engine decodes at once, and the tokens of rows that join together."""

    rows: int
    tokens: int


def joining(lengths: Sequence[int], free: int, limits: BatchLimits, *, sharing: int = 1) -> int:
    """Return how many waiting jobs join an engine with `free` rows now, oldest first.

    `lengths` are in order of age. Jobs that fit join at once; with a backlog a quarter of the rows
    must be free first, because encoding prompts one at a time costs twice as much for each. The
    `sharing` idle engines split the jobs evenly. The oldest job joins whatever its length, so that
    none starves.
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
    """Return whether any of so many waiting jobs would join an engine with `free` rows now."""
    return free >= min(waiting, max(1, limits.rows // 4))
