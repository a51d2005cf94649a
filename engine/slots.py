"""Slots of arrays for things that come and go, the slots in use at the beginning."""

from __future__ import annotations

from collections.abc import Callable


class Slots:
    """Give slots from 0 on. A freed one is given to the next taker; `close_gaps` moves the last
    slots into those that are still free.
    """

    def __init__(self) -> None:
        self._end = 0  # of the slots that are in use or gaps
        self._gaps: list[int] = []

    @property
    def have_gaps(self) -> bool:
        return bool(self._gaps)

    @property
    def in_use(self) -> int:
        return self._end - len(self._gaps)

    @property
    def end(self) -> int:
        """The number of slots from the first to the last in use."""
        return self._end

    def take(self) -> int:
        if self._gaps:
            return self._gaps.pop()
        self._end += 1
        return self._end - 1

    def free(self, slot: int) -> None:
        self._gaps.append(slot)

    def clear(self) -> None:
        self._end = 0
        self._gaps.clear()

    def close_gaps(self, move: Callable[[int, int], None]) -> None:
        """Fill each gap by `move(last, gap)`, so that all slots up to `end` are in use."""
        for gap in sorted(self._gaps, reverse=True):
            self._end -= 1
            if gap != self._end:
                move(self._end, gap)
        self._gaps.clear()
