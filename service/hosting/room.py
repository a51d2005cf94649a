"""The rows that may join an engine: fewer after it was out of memory, then slowly more again."""

from __future__ import annotations

_STEPS = 500  # with as many rows as may be, until more are tried
_SHARE = 8  # of the engine's rows, that are tried more


class Room:
    """Between one row and `most`, those that the engine has."""

    def __init__(self, most: int) -> None:
        self._most = self.rows = most
        self._full_steps = 0

    def exceeded(self) -> None:
        """The memory was full: half of the rows may join from now on."""
        self.rows = max(1, self.rows // 2)
        self._full_steps = 0

    def sufficed(self, rows: int) -> None:
        """A step of `rows` rows succeeded; after many with all that may join, more are tried."""
        if self.rows == self._most or rows < self.rows:
            return
        self._full_steps += 1
        if self._full_steps == _STEPS:
            self.rows = min(self._most, self.rows + max(1, self._most // _SHARE))
            self._full_steps = 0
