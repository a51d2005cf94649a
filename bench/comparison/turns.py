"""Admit candidates and let them take turns.

All admitted candidates run at once. One works at a time; the others wait for their input, and the
report states how much processor time they used meanwhile.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bench.comparison.candidates import Candidate, CandidateFailed
from bench.comparison.figures import FiguresT

Item = TypeVar("Item")
CandidateT = TypeVar("CandidateT", bound=Candidate[Any, Any, Any])
Say = Callable[[str], None]


@dataclass
class Outcome:
    """The candidates that were excluded, and what waiting candidates cost."""

    excluded: dict[str, str] = field(default_factory=dict)  # label: reason
    waiting_share: list[float] = field(default_factory=list)  # of one core, by turn

    @property
    def most_waiting(self) -> float:
        return max(self.waiting_share, default=0.0)


def alternate(rounds: int, items: Sequence[Item]) -> Iterator[tuple[int, Item]]:
    """Yield A B C, A B C, ... with the round's number: drift of the machine affects all alike."""
    for number in range(rounds):
        for item in items:
            yield number, item


class Turns(Generic[CandidateT]):
    """The admitted candidates of one comparison.

    `outcome` collects exclusions and the cost of waiting; `say` takes lines of progress. Between
    turns `settle_s` pass.
    """

    def __init__(self, outcome: Outcome, *, say: Say, settle_s: float) -> None:
        self.candidates: list[CandidateT] = []
        self._outcome = outcome
        self._say = say
        self._settle_s = settle_s

    def add(self, candidate: CandidateT) -> None:
        """Add a candidate that has just started, before any check: `close` ends it in any case."""
        self.candidates.append(candidate)

    @contextmanager
    def admission(self, label: str) -> Iterator[None]:
        """Exclude the candidates named `label`, and end them, where the block raises
        `CandidateFailed`.
        """
        try:
            yield
        except CandidateFailed as error:
            self._say(f"{label} is left out: {error}")
            self._outcome.excluded[label] = str(error)
            for candidate in self.candidates:
                if candidate.label == label:
                    candidate.process.close()
            self.candidates = [one for one in self.candidates if one.label != label]

    def take(
        self,
        scenario: str,
        rounds: int,
        chosen: Sequence[CandidateT],
        measure: Callable[[CandidateT], FiguresT],
    ) -> dict[str, list[FiguresT]]:
        """Return the figures of each round by label; the `chosen` candidates alternate."""
        found: dict[str, list[FiguresT]] = {candidate.label: [] for candidate in chosen}
        for number, candidate in alternate(rounds, chosen):
            one = self.turn(candidate, measure)
            found[candidate.label].append(one)
            self._say(
                f"{scenario}: {candidate.label}: round {number + 1} of {rounds}: "
                f"{one.per_s:.1f}/s, p99 {one.p99_ms:.1f} ms"
            )
        return found

    def best(
        self,
        trials: int,
        measure: Callable[[CandidateT], FiguresT],
        cost: Callable[[FiguresT], float],
    ) -> list[CandidateT]:
        """Return the candidate of each label with the lowest median cost of `trials` turns.

        The candidates alternate, so that a disturbance does not decide between two setups. One
        without an alternative is not measured.
        """
        setups = Counter(candidate.label for candidate in self.candidates)
        tried = [number for number, one in enumerate(self.candidates) if setups[one.label] > 1]
        costs: dict[int, list[float]] = {number: [] for number in tried}
        for _, number in alternate(trials, tried):
            costs[number].append(cost(self.turn(self.candidates[number], measure)))
        best: dict[str, tuple[float, CandidateT]] = {}
        for number, candidate in enumerate(self.candidates):
            median = statistics.median(costs[number]) if number in costs else 0.0
            if candidate.label not in best or median < best[candidate.label][0]:
                best[candidate.label] = median, candidate
        return [candidate for _, candidate in best.values()]

    def turn(self, candidate: CandidateT, measure: Callable[[CandidateT], FiguresT]) -> FiguresT:
        """Measure one candidate, and the share of a core that the others use meanwhile."""
        time.sleep(self._settle_s)
        waiting = [one.process for one in self.candidates if one is not candidate]
        started_s, before_s = time.perf_counter(), sum(process.cpu_s() for process in waiting)
        figures = measure(candidate)
        waited_s = sum(process.cpu_s() for process in waiting) - before_s
        share = waited_s / (time.perf_counter() - started_s)
        self._outcome.waiting_share.append(share)
        return figures

    def close(self) -> None:
        for candidate in self.candidates:
            candidate.process.close()
