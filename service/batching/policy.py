"""Which of the waiting questions run next. Pure: values in, a value out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class BatchLimits:
    """The most rows that an engine decodes at once, and the most tokens of those that join
    together, with every row padded to the longest of them.
    """

    rows: int
    padded_tokens: int


def joining(
    lengths: Sequence[int], free: int, limits: BatchLimits, *, sharing: int = 1
) -> list[int]:
    """Indices, ascending, of the waiting questions that join an engine with `free` rows now.

    `lengths` are in order of age. Who fits joins at once; in a backlog a quarter of the rows must
    be free first, because encoding one question at a time costs twice as much a question. `sharing`
    engines with nothing else to do leave each other an even share.
    """
    if not enough_free(len(lengths), free, limits):
        return []
    share = -(-len(lengths) // max(1, sharing))
    return choose(lengths, BatchLimits(min(free, limits.rows, share), limits.padded_tokens))


def enough_free(waiting: int, free: int, limits: BatchLimits) -> bool:
    """Whether any of so many that wait would join an engine with `free` rows now."""
    return free >= min(waiting, max(1, limits.rows // 4))


def choose(lengths: Sequence[int], limits: BatchLimits) -> list[int]:
    """Indices, ascending, of the waiting questions that run next; `lengths` are in order of age.

    The oldest always runs, whatever its length, so that none starves; the rest of the batch is
    filled with those nearest to it in length, older first, because padding is work for nothing.
    """
    if not lengths or limits.rows < 1:
        return []
    oldest = lengths[0]
    chosen, longest = [0], oldest
    nearest = sorted(range(1, len(lengths)), key=lambda i: (abs(lengths[i] - oldest), i))
    for index in nearest:
        if len(chosen) == limits.rows:
            break
        padded = max(longest, lengths[index])
        if padded * (len(chosen) + 1) <= limits.padded_tokens:
            chosen.append(index)
            longest = padded
    return sorted(chosen)
