"""How fast questions are answered lately, and so how long one waits that comes now."""

from __future__ import annotations

import math

_MEMORY_S = 2.0  # of a busy engine: long enough for a mean, and soon aware that it became slow


class Pace:
    """Engine time per answer, as a mean over the latest seconds of work; older ones fade.

    Knows nothing before the first answer.
    """

    def __init__(self) -> None:
        self._busy_s = 0.0
        self._answers = 0.0

    def note(self, busy_s: float, answers: int) -> None:
        kept = math.exp(-busy_s / _MEMORY_S)
        self._busy_s = kept * self._busy_s + busy_s
        self._answers = kept * self._answers + answers

    def wait_s(self, ahead: int, engines: int) -> float:
        """Until `ahead` questions are answered by so many engines, as far as one can tell."""
        if not self._answers or not engines:
            return 0.0
        return ahead * self._busy_s / self._answers / engines
