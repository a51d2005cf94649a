"""The scenarios that engines are measured in, and the division of batches. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

SATURATED, SEVENTY = "stream-saturated", "stream-70"


@dataclass(frozen=True)
class Batches:
    """A closed loop of `calls` batch calls of `size` questions, one after another."""

    name: str
    size: int
    calls: int

    @property
    def questions(self) -> int:
        return self.size * self.calls


@dataclass(frozen=True)
class Stream:
    """An open loop of `questions`, which arrive whether or not the engine keeps up.

    `load` is the arrival rate as a share of our saturated throughput; None: all wait at the start.
    """

    name: str
    questions: int
    load: float | None


Scenario = Batches | Stream
_SHORT: tuple[Scenario, ...] = (
    Batches("batch-1", 1, 40),
    Batches("batch-8", 8, 16),
    Batches("batch-32", 32, 8),
    Batches("batch-128", 128, 4),
    Stream(SATURATED, 2000, None),
    Stream(SEVENTY, 1000, 0.7),
)
_QUICK: tuple[Scenario, ...] = (
    Batches("batch-1", 1, 5),
    Batches("batch-8", 8, 2),
    Batches("batch-32", 32, 1),
    Batches("batch-128", 128, 1),
    Stream(SATURATED, 64, None),
    Stream(SEVENTY, 32, 0.7),
)
# A long text takes as long as a hundred short ones.
_LONG: tuple[Scenario, ...] = (
    Batches("batch-1", 1, 8),
    Batches("batch-8", 8, 2),
    Batches("batch-32", 32, 1),
    Stream(SATURATED, 96, None),
)
_QUICK_LONG: tuple[Scenario, ...] = (
    Batches("batch-1", 1, 2),
    Batches("batch-8", 8, 1),
    Stream(SATURATED, 8, None),
)


def scenarios(shape: str, *, quick: bool) -> Sequence[Scenario]:
    """Return the scenarios of a shape; those of long texts end in `-long`."""
    if shape.endswith("-long"):
        return _QUICK_LONG if quick else _LONG
    return _QUICK if quick else _SHORT


def poisson(rate_per_s: float, count: int, seed: int) -> list[float]:
    """Return the arrival times in seconds of a Poisson process, `count` in all, from 0 on."""
    chance = random.Random(seed)
    arrivals, now_s = [], 0.0
    for _ in range(count):
        arrivals.append(now_s)
        now_s += chance.expovariate(rate_per_s)
    return arrivals


def split(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Divide indices among workers: similar lengths together, and similar numbers of tokens.

    Returns at most `parts` lists, none empty; `lengths` are positive.
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
    """Return the waiting questions (in order of age) that a free worker takes: the oldest, and
    those nearest to it in length, older first.
    """
    nearest = sorted(range(len(lengths)), key=lambda i: (abs(lengths[i] - lengths[0]), i))
    return nearest[:rows]
