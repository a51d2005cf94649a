"""The tokens of one row with settings, and the rows of a prompt that choose for themselves.

A task has the rows of one prompt. Before each choice it says what it needs of the logits, and then
chooses a token for each of its rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from engine.adjustments import Adjusting, Adjustments
from engine.choosing import Chooser, Drawing, Ranking
from engine.contracts import Answer, Choice, Hypothesis, Prompt
from engine.sampling import choose, needs_all, rankings_of, uniforms


class Likeliest(NamedTuple):
    """The two likeliest tokens of a row by the model itself."""

    tokens: list[int]
    logprobs: list[float]


@dataclass(frozen=True)
class Task:
    """The constants of a prompt's decoding."""

    prompt: Prompt
    start_id: int
    eos_id: int
    most: int  # tokens of an answer, forced ones included
    adjusting: Adjusting
    decode: Callable[[Sequence[int]], str]

    def adjustments(self, path: Path) -> Adjustments:
        generated = len(path.tokens) - len(self.prompt.forced)
        return self.adjusting.after([self.start_id, *path.tokens], generated)

    def forced(self, path: Path) -> int | None:
        """Return the token that must be next, if any."""
        position = len(path.tokens)
        return self.prompt.forced[position] if position < len(self.prompt.forced) else None

    def stops(self, tokens: Sequence[int]) -> bool:
        """Return True where one of the texts to stop at is in what `tokens` add to the forced."""
        stop = self.prompt.decoding.stop
        if not stop or len(tokens) <= len(self.prompt.forced):
            return False
        text, before = self.decode(tokens), len(self.decode(self.prompt.forced))
        return any(text.find(one, max(0, before - len(one) + 1)) >= 0 for one in stop)


@dataclass
class Path:
    """What one row has decoded so far; the lists have an entry for each token."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    runners_up: list[int] = field(default_factory=list)
    runner_up_logprobs: list[float] = field(default_factory=list)
    alternatives: list[list[Choice]] = field(default_factory=list)

    def followed_by(
        self, token: int, logprob: float, likeliest: Likeliest, alternatives: list[Choice]
    ) -> Path:
        """Return a path of one more token."""
        other = 1 if token == likeliest.tokens[0] else 0
        return Path(
            [*self.tokens, token],
            [*self.logprobs, logprob],
            [*self.runners_up, likeliest.tokens[other]],
            [*self.runner_up_logprobs, likeliest.logprobs[other]],
            [*self.alternatives, alternatives],
        )

    def forced_to(self, token: int, likeliest: Likeliest, alternatives: list[Choice]) -> Path:
        known = dict(zip(likeliest.tokens, likeliest.logprobs, strict=True))
        return self.followed_by(token, known.get(token, math.nan), likeliest, alternatives)

    def hypothesis(
        self, eos_id: int, *, score: float | None = None, stopped: bool = False
    ) -> Hypothesis:
        ended = self.tokens[-1] == eos_id
        return Hypothesis(
            self.tokens[:-1] if ended else self.tokens,
            self.logprobs,
            self.runners_up,
            self.runner_up_logprobs,
            self.alternatives if any(self.alternatives) else [],
            score,
            stopped and not ended,
        )


class Rows(Protocol):
    """The rows of one prompt, numbered by the engine's slots."""

    rows: list[int]

    def moved(self, last: int, row: int) -> None:
        """Follow a row to another slot."""
        ...

    def needs(self) -> tuple[list[Ranking], list[Drawing]]:
        """Return what must be known of the logits before the next choice."""
        ...

    def choose(self, chooser: Chooser, likeliest: Callable[[int], Likeliest]) -> Chosen:
        """Choose the next token of each row; `likeliest` is that of a row."""
        ...

    @property
    def written(self) -> list[int]:
        """Return the tokens so far where there is one row, to be streamed."""
        ...


class Copy(NamedTuple):
    """The cache of `row` becomes that of `source`; columns before `begin` are the same already."""

    row: int
    source: int
    begin: int


@dataclass
class Chosen:
    """The outcome of a step for the rows of one prompt."""

    tokens: dict[int, int] = field(default_factory=dict)  # the next of each row that goes on
    copies: list[Copy] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)  # rows that are free now
    answer: Answer | None = None  # once the whole prompt has ended


class Alternatives:
    """The likeliest tokens to report, from a ranking that is made for the choice where it can be."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._own: dict[int, Ranking] = {}

    def need(self, row: int, ranking: Ranking | None) -> list[Ranking]:
        """Return the ranking that must be made besides that of the choice."""
        if not self._count:
            return []
        if ranking is not None and not ranking.adjustments and ranking.count >= self._count:
            self._own[row] = ranking
            return []
        self._own[row] = Ranking(row, {}, self._count)
        return [self._own[row]]

    def of(self, row: int) -> list[Choice]:
        if not self._count:
            return []
        ranking = self._own[row]
        pairs = zip(ranking.tokens, ranking.logprobs, strict=True)
        return list(pairs)[: self._count]


class IndependentRows:
    """Greedy decoding with settings, or as many samples as there are rows."""

    def __init__(self, task: Task, rows: list[int], columns: int) -> None:
        self.rows = rows
        self._task = task
        decoding = task.prompt.decoding
        self._decoding = decoding
        self._number = {row: number for number, row in enumerate(rows)}  # of its answer
        self._paths = [Path() for _ in rows]
        self._done: dict[int, Hypothesis] = {}
        seed = decoding.seed or 0
        self._uniforms = [
            uniforms(seed, number, columns) if decoding.do_sample else []
            for number in range(len(rows))
        ]
        self._alternatives = Alternatives(decoding.top_logprobs)
        self._rankings: dict[int, Ranking] = {}
        self._drawings: dict[int, Drawing] = {}

    def moved(self, last: int, row: int) -> None:
        self.rows[self.rows.index(last)] = row
        self._number[row] = self._number.pop(last)

    @property
    def written(self) -> list[int]:
        return self._paths[0].tokens if len(self._paths) == 1 else []

    def needs(self) -> tuple[list[Ranking], list[Drawing]]:
        self._rankings.clear()
        self._drawings.clear()
        more: list[Ranking] = []
        for row in self.rows:
            path = self._paths[self._number[row]]
            if self._task.forced(path) is None:
                self._need(row, path)
            more += self._alternatives.need(row, self._rankings.get(row))
        return [*self._rankings.values(), *more], list(self._drawings.values())

    def _need(self, row: int, path: Path) -> None:
        decoding, adjustments = self._decoding, self._task.adjustments(path)
        if not decoding.do_sample:
            self._rankings[row] = Ranking(row, adjustments, max(1, decoding.top_logprobs))
            return
        if count := rankings_of(decoding):
            self._rankings[row] = Ranking(row, adjustments, count)
        if needs_all(decoding):
            uniform = self._uniforms[self._number[row]][len(path.tokens)]
            self._drawings[row] = Drawing(row, adjustments, decoding.temperature, uniform)

    def choose(self, chooser: Chooser, likeliest: Callable[[int], Likeliest]) -> Chosen:
        chosen = Chosen()
        for row in list(self.rows):
            number = self._number[row]
            path = self._next(row, self._paths[number], chooser, likeliest(row))
            self._paths[number] = path
            stopped = self._task.stops(path.tokens)
            ended = path.tokens[-1] == self._task.eos_id
            if ended or stopped or len(path.tokens) >= self._task.most:
                self._done[number] = path.hypothesis(self._task.eos_id, stopped=stopped)
                chosen.ended.append(row)
                self.rows.remove(row)
            else:
                chosen.tokens[row] = path.tokens[-1]
        if not self.rows:
            chosen.answer = Answer(tuple(self._done[n] for n in range(len(self._paths))))
        return chosen

    def _next(self, row: int, path: Path, chooser: Chooser, likeliest: Likeliest) -> Path:
        alternatives = self._alternatives.of(row)
        if (forced := self._task.forced(path)) is not None:
            return path.forced_to(forced, likeliest, alternatives)
        ranking, drawing = self._rankings.get(row), self._drawings.get(row)
        if ranking is None:
            assert drawing is not None, "a sample of all tokens is drawn: this is a bug"
            return path.followed_by(drawing.token, drawing.logprob, likeliest, alternatives)
        index = 0
        if self._decoding.do_sample:
            uniform = self._uniforms[self._number[row]][len(path.tokens)]
            total = drawing.total if drawing else None
            found = choose(self._decoding, ranking.scores, total, uniform, chooser.width)
            if found is None:  # flatter than most: the whole vocabulary in order
                ranking = Ranking(row, ranking.adjustments, chooser.width)
                chooser.rank([ranking])
                found = choose(self._decoding, ranking.scores, total, uniform, chooser.width)
            assert found is not None, "all tokens are ranked: this is a bug"
            index = found
        token, logprob = ranking.tokens[index], ranking.logprobs[index]
        return path.followed_by(token, logprob, likeliest, alternatives)
