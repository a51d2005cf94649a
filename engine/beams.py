"""Beam search over the rows of one prompt, with the choices and the end of transformers' `generate`.

Beams have no fixed row. The first of a beam's successors stays in its row, so that no cache is
copied; each further one takes the row of a beam that was dropped, and of the cache only the columns
from where their tokens differ. Source: `GenerationMixin._beam_search` of transformers 5.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from engine.choosing import Chooser, Drawing, Ranking
from engine.contracts import Answer, Hypothesis
from engine.paths import Alternatives, Chosen, Copy, Likeliest, Path, Task

_PER_BEAM = 2  # candidates: as many beams may end at once, and as many must go on


@dataclass
class _Beam:
    path: Path
    row: int
    score: float  # the sum of its log-probabilities after the adjustments


class _Candidate(NamedTuple):
    score: float
    beam: int
    place: int  # in the beam's ranking
    token: int


class BeamRows:
    """The `num_beams` rows of a prompt. They decode alike until the forced tokens have passed."""

    def __init__(self, task: Task, rows: list[int]) -> None:
        self.rows = rows
        self._task = task
        self._decoding = task.prompt.decoding
        self._beams = [_Beam(Path(), rows[0], 0.0)]
        self._held: dict[int, list[int]] = {row: [] for row in rows}  # tokens of a row's cache
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
    def written(self) -> list[int]:
        return []  # any beam may still be dropped

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
        best = self._best_candidates()
        going_on: list[_Candidate] = []
        paths: dict[_Candidate, Path] = {}
        for rank, candidate in enumerate(best):
            beam = self._beams[candidate.beam]
            paths[candidate] = path = beam.path.followed_by(
                candidate.token,
                self._rankings[beam.row].logprobs[candidate.place],
                likeliest(beam.row),
                self._alternatives.of(beam.row),
            )
            stopped = self._task.stops(path.tokens)
            ended = path.tokens[-1] == self._task.eos_id
            if not (ended or stopped or len(path.tokens) >= self._task.most):
                going_on.append(candidate)
            elif rank < self._decoding.num_beams:  # further ones are there to go on only
                self._finish(path, candidate.score, stopped=stopped)
        going_on = going_on[: self._decoding.num_beams]
        if not going_on or self._is_settled(going_on[0]):
            return self._end()
        return self._go_on(going_on, paths)

    def _force(self, token: int, likeliest: Callable[[int], Likeliest]) -> Chosen:
        beam = self._beams[0]
        alternatives = self._alternatives.of(beam.row)
        beam.path = beam.path.forced_to(token, likeliest(beam.row), alternatives)
        if len(beam.path.tokens) >= self._task.most or token == self._task.eos_id:
            self._finish(beam.path, 0.0, stopped=False)
            return self._end()
        self._held = dict.fromkeys(self.rows, beam.path.tokens)
        return Chosen(tokens=dict.fromkeys(self.rows, token))

    def _best_candidates(self) -> list[_Candidate]:
        candidates = (
            _Candidate(beam.score + score, number, place, token)
            for number, beam in enumerate(self._beams)
            for place, (token, score) in enumerate(
                zip(self._rankings[beam.row].tokens, self._rankings[beam.row].scores, strict=True)
            )
        )
        most = _PER_BEAM * self._decoding.num_beams
        return heapq.nsmallest(most, candidates, key=lambda one: (-one.score, one.beam, one.place))

    # -- the end ---------------------------------------------------------------------------------

    def _generated(self, path: Path) -> int:
        return len(path.tokens) - len(self._task.prompt.forced)

    def _finish(self, path: Path, score: float, *, stopped: bool) -> None:
        """Keep an answer if it is among the best `num_beams`."""
        normalised = score / max(1, self._generated(path)) ** self._decoding.length_penalty
        self._finished.append((normalised, path, stopped))
        self._finished.sort(key=lambda one: -one[0])  # of equals the earlier stays ahead
        del self._finished[self._decoding.num_beams :]

    def _is_settled(self, likeliest: _Candidate) -> bool:
        """Return True where going on is not wanted, or is not expected to find a better answer."""
        if len(self._finished) < self._decoding.num_beams:
            return False
        if self._decoding.early_stopping is True:
            return True
        forced, penalty = len(self._task.prompt.forced), self._decoding.length_penalty
        length = self._generated(self._beams[likeliest.beam].path) + 1
        if self._decoding.early_stopping == "never" and penalty > 0:
            length = (
                self._task.most - forced
            )  # the score of a beam that ends last and loses nothing
        return likeliest.score / length**penalty <= self._finished[-1][0]

    def _end(self) -> Chosen:
        ended, self.rows = self.rows, []
        answers = self._finished[: self._decoding.num_return_sequences]
        return Chosen(ended=ended, answer=Answer(tuple(map(self._hypothesis, answers))))

    def _hypothesis(self, finished: tuple[float, Path, bool]) -> Hypothesis:
        score, path, stopped = finished
        return path.hypothesis(self._task.eos_id, score=score, stopped=stopped)

    # -- going on --------------------------------------------------------------------------------

    def _go_on(self, chosen: Sequence[_Candidate], paths: dict[_Candidate, Path]) -> Chosen:
        """Give each of the next beams a row, and its token."""
        for beam in self._beams:
            self._held[beam.row] = beam.path.tokens
        parents = {candidate.beam for candidate in chosen}
        kept = {self._beams[number].row for number in parents}
        free = [row for row in self.rows if row not in kept]
        copies: list[Copy] = []
        beams: list[_Beam] = []
        for candidate in chosen:
            parent = self._beams[candidate.beam].row
            row = parent
            if candidate.beam in parents:
                parents.remove(candidate.beam)
            else:
                row = free.pop()
                same = _length_of_common_prefix(self._held[row], self._held[parent])
                copies.append(Copy(row, parent, same + 1))  # the start token is before them
                self._held[row] = self._held[parent]
            beams.append(_Beam(paths[candidate], row, candidate.score))
        self._beams = beams
        tokens = dict.fromkeys(self.rows, self._task.eos_id)  # of a row without a beam: any
        return Chosen(tokens | {beam.row: beam.path.tokens[-1] for beam in beams}, copies)


def _length_of_common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    if first == second:
        return len(first)
    for length, (one, other) in zip(count(), zip(first, second, strict=False), strict=False):
        if one != other:
            return length
    return min(len(first), len(second))
