"""Fakes by hand: a clock that tests turn, an observer that remembers, an engine that is right."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from equations import work
from equations.prompt import read_digits
from service.contracts import Generation, Phases, Tokens
from service.engine.tokens import TextCodec


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
        self.drops = 0
        self.waits_s: list[float] = []
        self.sizes: list[int] = []
        self.tokens = 0

    def queued(self, depth: int) -> None:
        self.depth = depth

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)

    def dropped(self, count: int) -> None:
        self.drops += count

    def batch_formed(self, waits_s: list[float], lengths: list[int]) -> None:
        self.waits_s += waits_s
        self.sizes.append(len(lengths))

    def batch_done(self, phases: Phases, tokens: int) -> None:
        self.tokens += tokens


class RightEngine:
    """Answers every `digits` prompt with its true worked form, and others with nothing."""

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec

    def generate(self, sources: Sequence[Tokens]) -> Generation:
        return Generation([self._answer(source) for source in sources], Phases(0.001, 0.002))

    def _answer(self, source: Tokens) -> list[int]:
        equation = read_digits(self._codec.decode(source))
        try:
            text = work.write(equation, Random(0))
        except ValueError:
            return []
        return self._codec.encode(text)[:-1]
