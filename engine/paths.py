"""The tokens of one row with settings, and what the rows of a prompt choose.

A task has the rows of one prompt. Before each choice it says what it needs of the logits, and then
chooses a token for each of its rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

from engine.adjustments import Adjusting, Adjustments
from engine.choosing import Chooser, Drawing, Ranking, Selection
from engine.contracts import Answer, Choice, Hypothesis, Progress, Prompt


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

    __slots__ = ("alternatives", "before", "length", "likeliest", "logprob", "token")

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
        self.likeliest = likeliest
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

    @property
    def _runner_up(self) -> Choice:
        """The likeliest other token."""
        assert self.likeliest is not None, "only START has none: this is a bug"
        tokens, logprobs = self.likeliest
        other = 1 if self.token == tokens[0] else 0
        return tokens[other], logprobs[other]

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
        runners_up = [path._runner_up for path in paths]
        return Hypothesis(
            [path.token for path in (paths[:-1] if ended else paths)],
            [path.logprob for path in paths],
            [token for token, _ in runners_up],
            [logprob for _, logprob in runners_up],
            _alternatives(paths),
            score,
            stopped and not ended,
        )


START = Path()


def _alternatives(paths: Sequence[Path]) -> list[list[Choice]]:
    """Return the alternatives at each token; an empty list where none are reported."""
    found = [list(path.alternatives) for path in paths]
    return found if any(found) else []


class Needs(NamedTuple):
    """Hold what must be known of the logits before a choice."""

    rankings: Sequence[Ranking] = ()
    drawings: Sequence[Drawing] = ()
    selections: Sequence[Selection] = ()


class Rows(Protocol):
    """The rows of one prompt, numbered by the engine's slots."""

    rows: list[int]

    def moved(self, last: int, row: int) -> None:
        """Follow a row to another slot."""
        ...

    def needs(self) -> Needs:
        """Return what must be known of the logits before the next choice."""
        ...

    def choose(self, chooser: Chooser, likeliest: Sequence[Likeliest]) -> Chosen:
        """Choose the next token of each row; `likeliest` are by row."""
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
    spared: int = 0  # reserved rows that will not be needed
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
        return list(islice(zip(ranking.tokens, ranking.logprobs, strict=True), self._count))
