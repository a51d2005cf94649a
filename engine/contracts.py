"""The types that callers and implementations of an engine share. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Tokens = Sequence[int]


@dataclass(frozen=True)
class Prompt:
    """The source of one row, with its end token, and the tokens its answer must begin with."""

    source: tuple[int, ...]
    forced: tuple[int, ...] = ()
    max_new_tokens: int | None = None  # None: the bundle's limit


@dataclass(frozen=True)
class Hypothesis:
    """The answer that an engine decoded for one prompt.

    `logprobs`, `runners_up` and `runner_up_logprobs` have an entry for each token, and one more for
    the end token where the answer ended by itself. Log-probabilities are natural; that of a forced
    token is NaN where it was not among the two likeliest.
    """

    tokens: list[int]  # without the end token
    logprobs: list[float]
    runners_up: list[int]  # the likeliest other token at each position
    runner_up_logprobs: list[float]

    @property
    def logprob(self) -> float:
        """The log-probability of the whole answer: the sum over its tokens."""
        return sum(self.logprobs)

    @property
    def ended(self) -> bool:
        """True where the model wrote its end token, False where the answer reached its limit."""
        return len(self.logprobs) > len(self.tokens)


class Engine(Protocol):
    """Greedy sequence-to-sequence decoding, step by step; rows join and leave between steps.

    One thread at a time calls it. `key` is the caller's name for a row. A row's answer does not
    depend on the other rows. Any method may raise; all rows are then lost, and the engine can be
    used again after `clear`.
    """

    @property
    def rows(self) -> int:
        """The most prompts that the engine decodes at once."""
        ...

    @property
    def active(self) -> int:
        """The number of rows being decoded."""
        ...

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        """Start decoding these prompts, at most `rows - active`."""
        ...

    def step(self) -> dict[Hashable, Hypothesis]:
        """Decode one token in every row. Remove and return the finished rows."""
        ...

    def written(self, key: Hashable) -> list[int]:
        """Return the tokens that an active row has decoded so far."""
        ...

    def leave(self, keys: Collection[Hashable]) -> None:
        """Remove these rows; their answers are no longer wanted."""
        ...

    def clear(self) -> None:
        """Remove every row."""
        ...
