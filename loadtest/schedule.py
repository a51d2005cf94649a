"""When each request of an open loop is due. Pure; seconds from the start of the run.

An open loop sends when a request is due, whether or not earlier ones were answered, and measures
from that time. A closed loop waits for its answers, so a service that stalls is asked less and
looks better than it is: coordinated omission.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

# Shares of what a service was seen to answer: the knee lies among them.
_AROUND_CAPACITY = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3)


@dataclass(frozen=True)
class Step:
    """A time of constant load: requests a second in an open loop, callers in a closed one."""

    load: float
    start_s: float
    end_s: float


def steps(loads: Sequence[float], seconds: float) -> list[Step]:
    """One step after the other, `seconds` each."""
    edges = accumulate([seconds] * len(loads), initial=0.0)
    return [Step(load, *edge) for load, edge in zip(loads, pairwise(edges), strict=True)]


def evenly(plan: Sequence[Step]) -> Iterator[float]:
    """Due times at equal distances within each step."""
    for step in plan:
        count = round(step.load * (step.end_s - step.start_s))
        yield from (step.start_s + i / step.load for i in range(count))


def at_random(plan: Sequence[Step], seed: int) -> Iterator[float]:
    """Due times of a Poisson process: what many callers who know nothing of each other make."""
    random = Random(seed)
    for step in plan:
        due_s = step.start_s + random.expovariate(step.load)
        while due_s < step.end_s:
            yield due_s
            due_s += random.expovariate(step.load)


def around(capacity: float) -> list[float]:
    """Rates below and above `capacity` (requests a second), rounded, without repetition."""
    rates = [round(share * capacity, 1 if capacity < 50 else None) for share in _AROUND_CAPACITY]
    return sorted({rate for rate in rates if rate > 0})
