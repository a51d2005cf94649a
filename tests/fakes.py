"""Fakes by hand: a clock that tests turn, an observer that remembers, an engine that is right."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from engine.contracts import Prompt, Tokens
from engine.echo import EchoEngine
from engine.tokens import TextCodec
from equations import work
from equations.parser import parse
from equations.prompt import SUMS, read_digits, write_digits


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Remembering:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.depth = 0
        self.refusals: list[str] = []
        self.left: list[str] = []
        self.reuses: list[str] = []
        self.waits_s: list[float] = []
        self.joins: list[int] = []
        self.steps: list[int] = []
        self.answers = 0
        self.ends: list[str] = []

    def queued(self, depth: int) -> None:
        self.depth = depth

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def abandoned(self, reason: str) -> None:
        self.left.append(reason)

    def reused(self, how: str) -> None:
        self.reuses.append(how)

    def joined(self, waits_s: list[float], lengths: list[int]) -> None:
        self.waits_s += waits_s
        self.joins.append(len(lengths))

    def stepped(self, rows: int, busy_s: float) -> None:
        self.steps.append(rows)

    def engine_ended(self, reason: str) -> None:
        self.ends.append(reason)

    def finished(self, encode_s: float, decode_s: float, tokens: int) -> None:
        self.answers += 1


# Tests of wrong answers ask this: `RightEngine` writes nothing for it.
UNANSWERED = write_digits(parse("2x = 1"))


class RightEngine(EchoEngine):
    """Answers every `digits` prompt but `UNANSWERED` with its true worked form."""

    def __init__(
        self,
        codec: TextCodec,
        before: Callable[[list[Tokens]], None] | None = None,
        *,
        rows: int = 64,
    ) -> None:
        super().__init__(before, rows=rows, answer=self._work)
        self._codec = codec

    def _work(self, prompt: Prompt) -> Tokens:
        asked = self._codec.decode(prompt.source)
        if asked == UNANSWERED:
            return []
        divide = not asked.startswith(f"{SUMS} ")
        equation = read_digits(asked.removeprefix(f"{SUMS} "))
        try:
            text = work.write(equation, Random(0), divide=divide)
        except ValueError:
            return []
        return self._codec.encode(text)[:-1]
