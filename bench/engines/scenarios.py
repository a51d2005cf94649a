"""What is asked of every engine, and in which order. Pure: values in, values out."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
SATURATED, SEVENTY = "stream-saturated", "stream-70"


@dataclass(frozen=True)
class Batches:
    """A closed loop: `calls` batch calls of `size` questions, each when the last has answered."""

    name: str
    size: int
    calls: int

    @property
    def questions(self) -> int:
        return self.size * self.calls


@dataclass(frozen=True)
class Stream:
    """`questions` arriving at their own times, whether or not the engine keeps up.

    `load` is the share of our own saturated rate at which they arrive; None: all wait at the start.
    """

    name: str
    questions: int
    load: float | None


Scenario = Batches | Stream
FULL: tuple[Scenario, ...] = (
    Batches("batch-1", 1, 40),
    Batches("batch-8", 8, 16),
    Batches("batch-32", 32, 8),
    Batches("batch-128", 128, 4),
    Stream(SATURATED, 2000, None),
    Stream(SEVENTY, 1000, 0.7),
)
QUICK: tuple[Scenario, ...] = (
    Batches("batch-1", 1, 5),
    Batches("batch-8", 8, 2),
    Batches("batch-32", 32, 1),
    Batches("batch-128", 128, 1),
    Stream(SATURATED, 64, None),
    Stream(SEVENTY, 32, 0.7),
)


def poisson(rate_per_s: float, count: int, seed: int) -> list[float]:
    """Arrival times in seconds of `count` questions: independent, exponential gaps, from 0 on."""
    chance = random.Random(seed)
    arrivals, now_s = [], 0.0
    for _ in range(count):
        arrivals.append(now_s)
        now_s += chance.expovariate(rate_per_s)
    return arrivals


def turns(rounds: int, candidates: Sequence[Item]) -> Iterator[tuple[int, Item]]:
    """A B C, A B C, ...: a machine that drifts does so under all alike."""
    for number in range(rounds):
        for candidate in candidates:
            yield number, candidate


def split(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Indices by workers: like lengths together, cut where the tokens are shared out evenly.

    At most `parts` lists, none empty; `lengths` are positive.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    share = sum(lengths) / parts
    pieces: list[list[int]] = [[] for _ in range(parts)]
    before = 0
    for index in order:
        middle = before + lengths[index] / 2
        pieces[min(parts - 1, int(middle / share))].append(index)
        before += lengths[index]
    return [piece for piece in pieces if piece]


def take(lengths: Sequence[int], rows: int) -> list[int]:
    """Which of the waiting (in order of age) a free worker takes: the oldest, and the nearest to
    it in length, older first.
    """
    nearest = sorted(range(len(lengths)), key=lambda i: (abs(lengths[i] - lengths[0]), i))
    return nearest[:rows]
