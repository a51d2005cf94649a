"""Rows of token ids with padding, for engines that need it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Rows = list[list[int]]


class Generate(Protocol):
    """An engine's function from a batch of sources to their answers, in the same order."""

    def __call__(self, sources: Rows, steps: int = ...) -> Rows:
        """Answer in at most `steps` tokens, by default as many as the engine was loaded for."""
        ...


def padded(sources: Sequence[Sequence[int]], pad: int) -> tuple[Rows, Rows]:
    """Return ids and mask, (batch, longest) each."""
    length = max(map(len, sources))
    ids = [[*source, *[pad] * (length - len(source))] for source in sources]
    mask = [[1] * len(source) + [0] * (length - len(source)) for source in sources]
    return ids, mask


def until_end(rows: Sequence[list[int]], end: int) -> Rows:
    """Return each row up to its end token."""
    return [row[: row.index(end)] if end in row else row for row in rows]
