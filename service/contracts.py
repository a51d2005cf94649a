"""What the rooms of the service say to each other. Standard library only."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Tokens = Sequence[int]


@dataclass(frozen=True)
class Phases:
    """Seconds that one batch spent in the encoder and in all decoding steps together."""

    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class Generation:
    """What an engine made of a batch: the tokens of each row, without the end token."""

    rows: list[list[int]]
    phases: Phases


class Engine(Protocol):
    """Greedy sequence-to-sequence generation.

    `generate` blocks, is called by one thread at a time, and returns as many rows as it was given,
    in their order. It may raise anything; the batcher then answers that batch and goes on.
    """

    def generate(self, sources: Sequence[Tokens]) -> Generation: ...


@dataclass(frozen=True)
class Timings:
    """Seconds that a request waited in the queue and that its batch took to generate."""

    queue_s: float
    inference_s: float


@dataclass(frozen=True)
class Answered:
    """The tokens generated for one job, and when."""

    tokens: list[int]
    timings: Timings


@dataclass(eq=False)
class Job:
    """One admitted request. `reply` is settled exactly once, by the batcher."""

    source: Tokens
    reply: asyncio.Future[Answered]
    enqueued_s: float  # on the batcher's clock

    @property
    def length(self) -> int:
        return len(self.source)


class Observer(Protocol):
    """Told by the batcher of what it does; `service.metrics` counts it."""

    def queued(self, depth: int) -> None: ...

    def refused(self, reason: str) -> None: ...

    def dropped(self, count: int) -> None: ...  # questions that nobody waits for any more

    def batch_formed(self, waits_s: list[float], lengths: list[int]) -> None: ...

    def batch_done(self, phases: Phases, tokens: int) -> None: ...
