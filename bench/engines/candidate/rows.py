"""Rows of token ids with padding, for engines that need it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

Rows = list[list[int]]


def padded(sources: Sequence[Sequence[int]], pad: int) -> tuple[Rows, Rows]:
    """Return ids and mask, (batch, longest) each."""
    length = max(map(len, sources))
    ids = [[*source, *[pad] * (length - len(source))] for source in sources]
    mask = [[1] * len(source) + [0] * (length - len(source)) for source in sources]
    return ids, mask


def until_end(rows: Sequence[list[int]], end: int) -> Rows:
    """Return each row up to its end token."""
    return [row[: row.index(end)] if end in row else row for row in rows]
