"""Estimate the engine time of a request, and from it the wait of a new one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

_WINDOW_S = (
    2.0  # half-life in engine time: long enough for a mean, short enough to notice a slower engine
)
_HALF_LIFE_S = 30.0  # half-life of the estimate, and of the weight of its measurements


class ServiceTime:
    """The mean engine time of a row: the sum of its shares of the steps that it was part of.

    The rows of a step share its time, so the work ahead of a new row is the number of rows under
    way times this mean. The latest rows weigh most. A row that was withdrawn unfinished is not
    counted, unless it already took longer than the mean: then the mean is too low.

    The estimate decays while nothing new is learned. Admission control learns only from requests
    that it admits, so an estimate that is too high must not last.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sum_s = 0.0
        self._weight = 0.0
        self._learned_s = clock()  # when a row was last counted

    def finished(self, rows_s: Iterable[float]) -> None:
        """Count rows that were answered, by their engine time."""
        for row_s in rows_s:
            self._count(row_s)

    def withdrawn(self, rows_s: Iterable[float]) -> None:
        """Count rows that left the engine unfinished, by their engine time until then."""
        for row_s in rows_s:
            if row_s > self.mean_s():
                self._count(row_s)

    def mean_s(self) -> float:
        """Return the estimate for one row; 0 while nothing is known."""
        return self._mean_s() * self._decay()

    def wait_s(self, rows: int, engines: int) -> float:
        """Return the seconds until so many engines have answered so many rows."""
        return rows * self.mean_s() / engines if engines else 0.0

    def _count(self, row_s: float) -> None:
        kept = math.exp(-row_s / _WINDOW_S) * self._decay()
        self._sum_s = kept * self._sum_s + row_s
        self._weight = kept * self._weight + 1.0
        self._learned_s = self._clock()

    def _mean_s(self) -> float:
        return self._sum_s / self._weight if self._weight else 0.0

    def _decay(self) -> float:
        # A model whose rows take longer than the half-life must not be forgotten between two.
        half_life_s = max(_HALF_LIFE_S, self._mean_s())
        return math.pow(0.5, (self._clock() - self._learned_s) / half_life_s)
