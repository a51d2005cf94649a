"""Greedy rows with settings, and samples: rows that choose their tokens independently."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.choosing import Chooser, Drawing, Ranking
from engine.contracts import Answer, Hypothesis
from engine.paths import START, Alternatives, Chosen, Likeliest, Needs, Path, Task
from engine.sampling import choose, needs_all, rankings_of, uniforms

_MORE = 16  # times as many tokens are put in order where those that were do not suffice


class IndependentRows:
    """Greedy decoding with settings, or samples: one row at first, one a sample once they differ.

    `fork` gives the prompt another row, which continues as the given one does.
    """

    def __init__(self, task: Task, row: int, fork: Callable[[int], int], columns: int) -> None:
        self.rows = [row]
        self._task = task
        self._fork = fork
        decoding = task.prompt.decoding
        self._decoding = decoding
        count = task.prompt.rows
        self._samples: dict[int, list[int]] = {row: [*range(count)]}  # that each row decodes
        self._paths: list[Path] = [START] * count
        self._done: dict[int, Hypothesis] = {}
        seed = decoding.seed or 0
        self._uniforms = [
            uniforms(seed, sample, columns) if decoding.do_sample else [] for sample in range(count)
        ]
        self._alternatives = Alternatives(decoding.top_logprobs)
        self._rankings: dict[int, Ranking] = {}  # by row
        self._drawings: dict[int, Drawing] = {}  # by sample

    def moved(self, last: int, row: int) -> None:
        self.rows[self.rows.index(last)] = row
        self._samples[row] = self._samples.pop(last)

    @property
    def certain(self) -> Path | None:
        return self._paths[0] if len(self._paths) == 1 else None

    def needs(self) -> Needs:
        self._rankings.clear()
        self._drawings.clear()
        more: list[Ranking] = []
        for row in self.rows:
            if self._task.forced(self._path_of(row)) is None:
                self._need(row)
            more += self._alternatives.need(row, self._rankings.get(row))
        return Needs([*self._rankings.values(), *more], [*self._drawings.values()])

    def _path_of(self, row: int) -> Path:
        return self._paths[self._samples[row][0]]

    def _need(self, row: int) -> None:
        decoding, path = self._decoding, self._path_of(row)
        adjustments = self._task.adjustments(path)
        if not decoding.do_sample:
            self._rankings[row] = Ranking(row, adjustments, max(1, decoding.top_logprobs))
            return
        if count := rankings_of(decoding):
            self._rankings[row] = Ranking(row, adjustments, count)
        if needs_all(decoding):
            for sample in self._samples[row]:
                uniform = self._uniforms[sample][path.length]
                self._drawings[sample] = Drawing(row, adjustments, decoding.temperature, uniform)

    def choose(self, chooser: Chooser, likeliest: Sequence[Likeliest]) -> Chosen:
        chosen = Chosen()
        for row in list(self.rows):
            samples = self._samples[row]
            going_on = [
                sample for sample in samples if self._goes_on(sample, row, chooser, likeliest[row])
            ]
            if not going_on:
                chosen.ended.append(row)
                self.rows.remove(row)
                del self._samples[row]
            elif self._path_of(row).length <= len(self._task.prompt.forced):
                chosen.tokens[row] = self._path_of(row).token  # of all that the row decodes
            else:
                chosen.spared += len(samples) - len(going_on)
                self._part(row, going_on, chosen)
        if not self.rows:
            chosen.answer = Answer(tuple(self._done[n] for n in range(len(self._paths))))
        return chosen

    def _part(self, row: int, samples: list[int], chosen: Chosen) -> None:
        """Leave `row` to the first of these samples; give the others rows of their own."""
        for sample in samples:
            own = row if sample == samples[0] else self._fork(row)
            if own != row:
                self.rows.append(own)
            self._samples[own] = [sample]
            chosen.tokens[own] = self._paths[sample].token

    def _goes_on(self, sample: int, row: int, chooser: Chooser, likeliest: Likeliest) -> bool:
        """Choose the next token of a sample; keep its answer where that is the last one."""
        task = self._task
        path = self._paths[sample] = self._next(sample, row, chooser, likeliest)
        stopped = task.stops(path)
        if not (stopped or path.token == task.eos_id or path.length >= task.most):
            return True
        self._done[sample] = path.hypothesis(task.eos_id, stopped=stopped)
        return False

    def _next(self, sample: int, row: int, chooser: Chooser, likeliest: Likeliest) -> Path:
        path, alternatives = self._paths[sample], self._alternatives.of(row)
        if (forced := self._task.forced(path)) is not None:
            return Path.forced(path, forced, likeliest, alternatives)
        ranking, drawing = self._rankings.get(row), self._drawings.get(sample)
        if ranking is None:
            assert drawing is not None, "a sample of all tokens is drawn: this is a bug"
            return Path(path, drawing.token, drawing.logprob, likeliest, alternatives)
        index = 0
        if self._decoding.do_sample:
            uniform = self._uniforms[sample][path.length]
            total = drawing.total if drawing else None
            while (
                found := choose(self._decoding, ranking.scores, total, uniform, chooser.width)
            ) is None:  # flatter than most; of the whole vocabulary in order it is never None
                ranking = Ranking(row, ranking.adjustments, _MORE * ranking.count)
                chooser.rank([ranking])
                self._rankings[row] = ranking  # for the other samples of the row
            index = found
        token, logprob = ranking.tokens[index], ranking.logprobs[index]
        return Path(path, token, logprob, likeliest, alternatives)
