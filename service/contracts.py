"""What the rooms of the service say to each other. Standard library only."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Tokens = Sequence[int]


@dataclass(frozen=True)
class Prompt:
    """What a model reads, end token included, and the tokens its answer is made to begin with."""

    source: tuple[int, ...]
    forced: tuple[int, ...] = ()


@dataclass(frozen=True)
class Hypothesis:
    """What an engine wrote for one prompt.

    The other lists have an entry for each token, and one more for the end token where the answer
    came to its end. Log-probabilities are natural; that of a forced token is NaN where it was not
    one of the two likeliest.
    """

    tokens: list[int]  # without the end token
    logprobs: list[float]
    runners_up: list[int]  # the likeliest other token at each place
    runner_up_logprobs: list[float]

    @property
    def logprob(self) -> float:
        """Of the whole answer: the sum over its tokens."""
        return sum(self.logprobs)


class Engine(Protocol):
    """Greedy sequence-to-sequence generation, step by step; rows join and leave between steps.

    Called by one thread at a time. `key` is the caller's name for a row. What a row says does not
    depend on which others share the engine. Any method may raise anything; then all rows are lost,
    and after `clear` the engine goes on.
    """

    @property
    def rows(self) -> int:
        """How many prompts it decodes at once, at most."""
        ...

    @property
    def active(self) -> int:
        """How many rows are under way."""
        ...

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        """Begin with these prompts, at most `rows - active`."""
        ...

    def step(self) -> dict[Hashable, Hypothesis]:
        """One token more for every row; those that have come to their end leave, and are given."""
        ...

    def leave(self, keys: Collection[Hashable]) -> None:
        """Forget these rows; nobody waits for them."""
        ...

    def clear(self) -> None:
        """Forget every row."""
        ...


@dataclass(frozen=True)
class Timings:
    """Seconds that a request waited in the queue, and from leaving it to its last token."""

    queue_s: float
    inference_s: float

    def __add__(self, later: Timings) -> Timings:
        return Timings(self.queue_s + later.queue_s, self.inference_s + later.inference_s)


@dataclass(frozen=True)
class Answered:
    """What was written for one job, and when."""

    hypothesis: Hypothesis
    timings: Timings


@dataclass(eq=False)
class Job:
    """One prompt under way, and who waits for it: one caller, or several that asked the same.

    `replies` belong to the event loop and are settled exactly once there.
    """

    prompt: Prompt
    replies: list[asyncio.Future[Answered]]
    enqueued_s: float  # on the batcher's clock, as the times below
    joined_s: float = 0.0  # when it left the queue
    encoded_s: float = 0.0  # when the encoder was done with it

    @property
    def length(self) -> int:
        return len(self.prompt.source)

    @property
    def departed(self) -> bool:
        """Whether nobody waits any more: all are answered, have left or are past their deadline.

        That stays so, because nobody joins those who wait for a job that has none.
        """
        return all(reply.done() for reply in self.replies)


class Observer(Protocol):
    """Told by the batcher of what it does, from any thread; `service.metrics` counts it."""

    def queued(self, depth: int) -> None: ...

    def refused(self, reason: str) -> None: ...

    def dropped(self, count: int) -> None: ...  # questions that nobody waits for any more

    def reused(self, how: str) -> None: ...  # answers to what was asked before: shared, cached

    def joined(self, waits_s: list[float], lengths: list[int]) -> None: ...

    def stepped(self, rows: int, busy_s: float) -> None: ...

    def finished(self, encode_s: float, decode_s: float, tokens: int) -> None: ...
