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
from engine.contracts import Answer, Choice, Hypothesis, Progress, Prompt
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
        if self.adjusting.none:
            return {}
        generated = path.length - len(self.prompt.forced)
        return self.adjusting.after([self.start_id, *path.tokens], generated)

    def forced(self, path: Path) -> int | None:
        """Return the token that must be next, if any."""
        tokens = self.prompt.forced
        return tokens[path.length] if path.length < len(tokens) else None

    def stops(self, path: Path) -> bool:
        """Return True where one of the texts to stop at is in what `path` adds to the forced."""
        stop = self.prompt.decoding.stop
        if not stop or path.length <= len(self.prompt.forced):
            return False
        tokens = [token for token in path.tokens if token != self.eos_id]
        text, before = self.decode(tokens), len(self.decode(self.prompt.forced))
        return any(text.find(one, max(0, before - len(one) + 1)) >= 0 for one in stop)


class Path:
    """A token of an answer after those of the path before, which several beams may share.

    `START`, of no token, is before all others.
    """

    __slots__ = (
        "alternatives", "before", "length", "logprob", "runner_up", "runner_up_logprob", "token",
    )  # fmt: skip

    def __init__(
        self,
        before: Path | None = None,
        token: int = -1,
        logprob: float = 0.0,
        likeliest: Likeliest | None = None,
        alternatives: Sequence[Choice] = (),
    ) -> None:
        self.before = before
        self.token = token
        self.logprob = logprob
        self.length: int = before.length + 1 if before is not None else 0
        if likeliest is not None:
            other = 1 if token == likeliest.tokens[0] else 0
            self.runner_up = likeliest.tokens[other]
            self.runner_up_logprob = likeliest.logprobs[other]
        self.alternatives = alternatives

    @classmethod
    def forced(
        cls, before: Path, token: int, likeliest: Likeliest, alternatives: Sequence[Choice]
    ) -> Path:
        known = dict(zip(likeliest.tokens, likeliest.logprobs, strict=True))
        return cls(before, token, known.get(token, math.nan), likeliest, alternatives)

    def _after(self, since: int = 0) -> list[Path]:
        """Return the paths up to each token after the first `since`, the shortest first."""
        found, path = [], self
        while path.before is not None and path.length > since:
            found.append(path)
            path = path.before
        return found[::-1]

    @property
    def tokens(self) -> list[int]:
        return [path.token for path in self._after()]

    def progress(self, since: int) -> Progress:
        """Return the tokens after the first `since`."""
        paths = self._after(since)
        tokens, logprobs = [path.token for path in paths], [path.logprob for path in paths]
        return Progress(tokens, logprobs, _alternatives(paths))

    def shares(self, other: Path) -> int:
        """Return the number of tokens that two paths share from the first on."""
        one, two = self, other
        while one is not two:
            if one.length < two.length:
                one, two = two, one
            assert one.before is not None, "all begin at START: this is a bug"
            one = one.before
        return one.length

    def hypothesis(
        self, eos_id: int, *, score: float | None = None, stopped: bool = False
    ) -> Hypothesis:
        paths, ended = self._after(), self.token == eos_id
        return Hypothesis(
            [path.token for path in (paths[:-1] if ended else paths)],
            [path.logprob for path in paths],
            [path.runner_up for path in paths],
            [path.runner_up_logprob for path in paths],
            _alternatives(paths),
            score,
            stopped and not ended,
        )


START = Path()


def _alternatives(paths: Sequence[Path]) -> list[list[Choice]]:
    """Return the alternatives at each token; an empty list where none are reported."""
    found = [list(path.alternatives) for path in paths]
    return found if any(found) else []


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
    def certain(self) -> Path | None:
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
    """The likeliest tokens to report, from the ranking of the choice where that has them."""

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
        self._paths = [START for _ in rows]
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
    def certain(self) -> Path | None:
        return self._paths[0] if len(self._paths) == 1 else None

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
            uniform = self._uniforms[self._number[row]][path.length]
            self._drawings[row] = Drawing(row, adjustments, decoding.temperature, uniform)

    def choose(self, chooser: Chooser, likeliest: Callable[[int], Likeliest]) -> Chosen:
        chosen = Chosen()
        for row in list(self.rows):
            number = self._number[row]
            path = self._next(row, self._paths[number], chooser, likeliest(row))
            self._paths[number] = path
            stopped = self._task.stops(path)
            if stopped or path.token == self._task.eos_id or path.length >= self._task.most:
                self._done[number] = path.hypothesis(self._task.eos_id, stopped=stopped)
                chosen.ended.append(row)
                self.rows.remove(row)
            else:
                chosen.tokens[row] = path.token
        if not self.rows:
            chosen.answer = Answer(tuple(self._done[n] for n in range(len(self._paths))))
        return chosen

    def _next(self, row: int, path: Path, chooser: Chooser, likeliest: Likeliest) -> Path:
        alternatives = self._alternatives.of(row)
        if (forced := self._task.forced(path)) is not None:
            return Path.forced(path, forced, likeliest, alternatives)
        ranking, drawing = self._rankings.get(row), self._drawings.get(row)
        if ranking is None:
            assert drawing is not None, "a sample of all tokens is drawn: this is a bug"
            return Path(path, drawing.token, drawing.logprob, likeliest, alternatives)
        index = 0
        if self._decoding.do_sample:
            uniform = self._uniforms[self._number[row]][path.length]
            total = drawing.total if drawing else None
            found = choose(self._decoding, ranking.scores, total, uniform, chooser.width)
            if found is None:  # flatter than most: the whole vocabulary in order
                ranking = Ranking(row, ranking.adjustments, chooser.width)
                chooser.rank([ranking])
                found = choose(self._decoding, ranking.scores, total, uniform, chooser.width)
            assert found is not None, "all tokens are ranked: this is a bug"
            index = found
        token, logprob = ranking.tokens[index], ranking.logprobs[index]
        return Path(path, token, logprob, likeliest, alternatives)
