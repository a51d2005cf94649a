"""What every server goes through. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from bench.engines.scenarios import poisson

_SEED = 5


@dataclass(frozen=True)
class Callers:
    """A closed loop: so many callers, each asks again when it has its answer."""

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
        """The same times for every server."""
        count = int(2 * self.per_s * seconds) + 10
        return takewhile(lambda due: due < seconds, poisson(self.per_s, count, _SEED))


Scenario = Callers | Rate
CALLERS = (1, 8, 32, 64)
MOST_CALLERS = CALLERS[-1]
RATE_SHARES = (0.25, 0.5, 0.75)  # of what ours gives to the most callers


def rates(saturated_per_s: float) -> list[Rate]:
    """Round figures, so that a name says them exactly."""
    return [Rate(float(max(1, round(share * saturated_per_s)))) for share in RATE_SHARES]
