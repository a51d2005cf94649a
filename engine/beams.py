"""Beam search over the rows of one prompt, which chooses and ends as transformers' own.

Beams have no fixed row. The first of a beam's successors stays in its row, so that no cache is
copied; each further one takes the row of a beam that was dropped, and of the cache only the columns
from where their tokens differ. Source: `GenerationMixin._beam_search` of transformers 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from engine.choosing import Chooser, Drawing, Ranking
from engine.contracts import Answer, Hypothesis
from engine.paths import START, Alternatives, Chosen, Copy, Likeliest, Path, Task

_PER_BEAM = 2  # candidates: as many beams may end at once, and as many must go on


@dataclass
class _Beam:
    path: Path
    row: int
    score: float  # the sum of its log-probabilities after the adjustments


class _Candidate(NamedTuple):
    cost: float  # minus its score, so that the best is the least
    beam: int
    place: int  # in the beam's ranking


class BeamRows:
    """The `num_beams` rows of a prompt. They decode alike until the forced tokens have passed."""

    def __init__(self, task: Task, rows: list[int]) -> None:
        self.rows = rows
        self._task = task
        self._decoding = task.prompt.decoding
        self._beams = [_Beam(START, rows[0], 0.0)]
        self._held = dict.fromkeys(rows, START)  # what each row's cache has been filled with
        self._finished: list[tuple[float, Path, bool]] = []  # score, path, stopped; the best first
        self._alternatives = Alternatives(self._decoding.top_logprobs)
        self._rankings: dict[int, Ranking] = {}

    def moved(self, last: int, row: int) -> None:
        self.rows[self.rows.index(last)] = row
        self._held[row] = self._held.pop(last)
        for beam in self._beams:
            if beam.row == last:
                beam.row = row

    @property
    def certain(self) -> Path | None:
        return None  # any beam may still be dropped

    @property
    def _forced(self) -> int | None:
        return self._task.forced(self._beams[0].path)

    def needs(self) -> tuple[list[Ranking], list[Drawing]]:
        self._rankings.clear()
        more: list[Ranking] = []
        for beam in self._beams:
            if self._forced is None:
                adjustments = self._task.adjustments(beam.path)
                most = _PER_BEAM * self._decoding.num_beams
                self._rankings[beam.row] = Ranking(beam.row, adjustments, most, normalised=True)
            more += self._alternatives.need(beam.row, self._rankings.get(beam.row))
        return [*self._rankings.values(), *more], []

    def choose(self, chooser: Chooser, likeliest: Callable[[int], Likeliest]) -> Chosen:
        if (forced := self._forced) is not None:
            return self._force(forced, likeliest)
        most, eos_id, count = self._task.most, self._task.eos_id, self._decoding.num_beams
        going_on: list[_Beam] = []  # each with the row of the beam before
        for rank, candidate in enumerate(self._best_candidates()):
            if rank >= count == len(going_on):
                break
            path = self._path_of(candidate, likeliest)
            stopped = self._task.stops(path)
            if not (stopped or path.token == eos_id or path.length >= most):
                if len(going_on) < count:
                    row = self._beams[candidate.beam].row
                    going_on.append(_Beam(path, row, -candidate.cost))
            elif rank < count:  # further ones are there to go on only
                self._finish(path, -candidate.cost, stopped=stopped)
        if not going_on or self._is_settled(going_on[0]):
            return self._end()
        return self._go_on(going_on)

    def _path_of(self, candidate: _Candidate, likeliest: Callable[[int], Likeliest]) -> Path:
        beam = self._beams[candidate.beam]
        ranking = self._rankings[beam.row]
        return Path(
            beam.path,
            ranking.tokens[candidate.place],
            ranking.logprobs[candidate.place],
            likeliest(beam.row),
            self._alternatives.of(beam.row),
        )

    def _force(self, token: int, likeliest: Callable[[int], Likeliest]) -> Chosen:
        beam = self._beams[0]
        alternatives = self._alternatives.of(beam.row)
        beam.path = Path.forced(beam.path, token, likeliest(beam.row), alternatives)
        if beam.path.length >= self._task.most or token == self._task.eos_id:
            self._finish(beam.path, 0.0, stopped=False)
            return self._end()
        self._held = dict.fromkeys(self.rows, beam.path)
        return Chosen(tokens=dict.fromkeys(self.rows, token))

    def _best_candidates(self) -> list[_Candidate]:
        candidates = [
            _Candidate(-beam.score - score, number, place)
            for number, beam in enumerate(self._beams)
            for place, score in enumerate(self._rankings[beam.row].scores)
        ]
        candidates.sort()
        return candidates[: _PER_BEAM * self._decoding.num_beams]

    # -- the end ---------------------------------------------------------------------------------

    def _generated(self, path: Path) -> int:
        return path.length - len(self._task.prompt.forced)

    def _finish(self, path: Path, score: float, *, stopped: bool) -> None:
        """Keep an answer if it is among the best `num_beams`."""
        normalised = score / max(1, self._generated(path)) ** self._decoding.length_penalty
        self._finished.append((normalised, path, stopped))
        self._finished.sort(key=lambda one: -one[0])  # of equals the earlier stays ahead
        del self._finished[self._decoding.num_beams :]

    def _is_settled(self, likeliest: _Beam) -> bool:
        """Return True where going on is not wanted, or is not expected to find a better answer."""
        if len(self._finished) < self._decoding.num_beams:
            return False
        if self._decoding.early_stopping is True:
            return True
        forced, penalty = len(self._task.prompt.forced), self._decoding.length_penalty
        length = self._generated(likeliest.path)
        if self._decoding.early_stopping == "never" and penalty > 0:
            length = self._task.most - forced  # a beam that ends last and loses nothing
        best_possible: float = likeliest.score / length**penalty
        return best_possible <= self._finished[-1][0]

    def _end(self) -> Chosen:
        ended, self.rows = self.rows, []
        answers = self._finished[: self._decoding.num_return_sequences]
        return Chosen(ended=ended, answer=Answer(tuple(map(self._hypothesis, answers))))

    def _hypothesis(self, finished: tuple[float, Path, bool]) -> Hypothesis:
        score, path, stopped = finished
        return path.hypothesis(self._task.eos_id, score=score, stopped=stopped)

    # -- going on --------------------------------------------------------------------------------

    def _go_on(self, beams: list[_Beam]) -> Chosen:
        """Give each of the next beams, which have the rows of those before, a row of its own."""
        for before in self._beams:
            self._held[before.row] = before.path
        taken = {beam.row for beam in beams}
        free = [row for row in self.rows if row not in taken]
        copies: list[Copy] = []
        for beam in beams:
            if beam.row in taken:
                taken.remove(beam.row)
                continue
            row, source = free.pop(), beam.row
            same = self._held[row].shares(self._held[source])
            copies.append(Copy(row, source, same + 1))  # the start token is before them
            self._held[row] = self._held[source]
            beam.row = row
        self._beams = beams
        tokens = dict.fromkeys(self.rows, self._task.eos_id)  # of a row without a beam: any
        return Chosen(tokens | {beam.row: beam.path.token for beam in beams}, copies)
