"""Compute when each request of an open loop is due, in seconds from the start of the run. Pure.

An open loop sends each request when it is due, whether or not earlier ones were answered, and
measures from that time. A closed loop waits for its answers, so it sends less to a service that
stalls, which then looks better than it is (coordinated omission).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

# Shares of the probed throughput; the knee lies among them.
_AROUND_CAPACITY = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3)


@dataclass(frozen=True)
class Step:
    """A period of constant load: requests/s in an open loop, callers in a closed one."""

    load: float
    start_s: float
    end_s: float


def steps(loads: Sequence[float], seconds: float) -> list[Step]:
    """Return consecutive steps of `seconds` each."""
    edges = accumulate([seconds] * len(loads), initial=0.0)
    return [Step(load, *edge) for load, edge in zip(loads, pairwise(edges), strict=True)]


def evenly(plan: Sequence[Step]) -> Iterator[float]:
    """Yield due times at equal distances within each step."""
    for step in plan:
        count = round(step.load * (step.end_s - step.start_s))
        yield from (step.start_s + i / step.load for i in range(count))


def at_random(plan: Sequence[Step], seed: int) -> Iterator[float]:
    """Yield the due times of a Poisson process, the arrivals of many independent clients."""
    random = Random(seed)
    for step in plan:
        due_s = step.start_s + random.expovariate(step.load)
        while due_s < step.end_s:
            yield due_s
            due_s += random.expovariate(step.load)


def around(capacity: float) -> list[float]:
    """Return rates below and above `capacity` (requests/s), rounded, without repetition."""
    rates = [round(share * capacity, 1 if capacity < 50 else None) for share in _AROUND_CAPACITY]
    return sorted({rate for rate in rates if rate > 0})
