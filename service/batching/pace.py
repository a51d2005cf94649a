"""How fast questions are answered lately, and so how long one waits that comes now."""

from __future__ import annotations

_MEMORY = 0.99  # of what was known, at each step: a few seconds of a busy engine


class Pace:
    """Engine time per answer, as a mean over the latest steps. Knows nothing before the first."""

    def __init__(self) -> None:
        self._busy_s = 0.0
        self._answers = 0.0

    def note(self, busy_s: float, answers: int) -> None:
        self._busy_s = _MEMORY * self._busy_s + busy_s
        self._answers = _MEMORY * self._answers + answers

    def wait_s(self, ahead: int, engines: int) -> float:
        """Until `ahead` questions are answered by so many engines, as far as one can tell."""
        if not self._answers or not engines:
            return 0.0
        return ahead * self._busy_s / self._answers / engines
