"""The scenarios that servers are measured in. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from loadtest.schedule import at_random, steps

_SEED = 5


@dataclass(frozen=True)
class Callers:
    """A closed loop: each of the callers sends its next question when it has its answer."""

    callers: int

    @property
    def name(self) -> str:
        return f"callers-{self.callers}"


@dataclass(frozen=True)
class Rate:
    """An open loop: questions arrive at random times, whether or not the server keeps up."""

    per_s: float

    @property
    def name(self) -> str:
        return f"rate-{self.per_s:.0f}"

    def due_s(self, seconds: float) -> Iterator[float]:
        """Yield the times when questions are due, the same for every server."""
        return at_random(steps([self.per_s], seconds), _SEED)


Scenario = Callers | Rate
CALLERS = (1, 8, 32, 64)
MOST_CALLERS = CALLERS[-1]
RATE_SHARES = (0.25, 0.5, 0.75)  # of our throughput with the most callers


def rates(saturated_per_s: float) -> list[Rate]:
    """Return the rates of the open loops, rounded, so that their names are exact."""
    return [Rate(float(max(1, round(share * saturated_per_s)))) for share in RATE_SHARES]
