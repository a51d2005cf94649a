"""Beam search over the rows of one prompt, which chooses and ends as transformers' own.

Beams are alike until the forced tokens have passed, so they begin in one row. The first of a beam's
successors stays in its row, so that no cache is copied; each further one takes the row of a beam
that was dropped, and of the cache only the columns from where their tokens differ, or a row that
the prompt has reserved. Source: `GenerationMixin._beam_search` of transformers 5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.choosing import Chooser, Selection
from engine.contracts import Answer, Hypothesis
from engine.paths import START, Alternatives, Chosen, Copy, Likeliest, Needs, Path, Task

_PER_BEAM = 2  # candidates: as many beams may end at once, and as many must go on


@dataclass(slots=True)
class _Beam:
    path: Path
    row: int
    score: float  # the sum of its log-probabilities after the adjustments


class BeamRows:
    """The beams of a prompt: one in `row` at first, `num_beams` once they differ.

    `fork` gives the prompt another row, which continues as the given one does.
    """

    def __init__(self, task: Task, row: int, fork: Callable[[int], int]) -> None:
        self.rows = [row]
        self._task = task
        self._fork = fork
        self._decoding = task.prompt.decoding
        self._beams = [_Beam(START, row, 0.0)]
        self._held = {row: START}  # what each row's cache has been filled with
        self._finished: list[tuple[float, Path, bool]] = []  # score, path, stopped; the best first
        self._alternatives = Alternatives(self._decoding.top_logprobs)
        self._selection = Selection((), (), (), 0)

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

    def needs(self) -> Needs:
        more = [
            ranking for beam in self._beams for ranking in self._alternatives.need(beam.row, None)
        ]
        if self._forced is not None:
            return Needs(more)
        self._selection = Selection(
            [beam.row for beam in self._beams],
            [self._task.adjustments(beam.path) for beam in self._beams],
            [beam.score for beam in self._beams],
            _PER_BEAM * self._decoding.num_beams,
        )
        return Needs(more, selections=[self._selection])

    def choose(self, chooser: Chooser, likeliest: Sequence[Likeliest]) -> Chosen:
        if (forced := self._forced) is not None:
            return self._force(forced, likeliest)
        most, eos_id, count = self._task.most, self._task.eos_id, self._decoding.num_beams
        going_on: list[_Beam] = []  # each with the row of the beam before
        for rank, (origin, token, logprob, score) in enumerate(self._selection.best):
            if rank >= count == len(going_on):
                break
            beam = self._beams[origin]
            alternatives = self._alternatives.of(beam.row)
            path = Path(beam.path, token, logprob, likeliest[beam.row], alternatives)
            stopped = self._task.stops(path)
            if not (stopped or token == eos_id or path.length >= most):
                if len(going_on) < count:
                    going_on.append(_Beam(path, beam.row, score))
            elif rank < count:  # further ones are there to go on only
                self._finish(path, score, stopped=stopped)
        if not going_on or self._is_settled(going_on[0]):
            return self._end()
        return self._go_on(going_on)

    def _force(self, token: int, likeliest: Sequence[Likeliest]) -> Chosen:
        (beam,) = self._beams
        alternatives = self._alternatives.of(beam.row)
        beam.path = Path.forced(beam.path, token, likeliest[beam.row], alternatives)
        if beam.path.length >= self._task.most or token == self._task.eos_id:
            self._finish(beam.path, 0.0, stopped=False)
            return self._end()
        self._held[beam.row] = beam.path
        return Chosen(tokens={beam.row: token})

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
            source = beam.row
            if free:
                beam.row = free.pop()
                same = self._held[beam.row].shares(self._held[source])
                copies.append(Copy(beam.row, source, same + 1))  # the start token is before them
            else:
                beam.row = self._fork(source)
                self.rows.append(beam.row)
            self._held[beam.row] = self._held[source]
        self._beams = beams
        tokens = dict.fromkeys(self.rows, self._task.eos_id)  # of a row without a beam: any
        return Chosen(tokens | {beam.row: beam.path.token for beam in beams}, copies)
