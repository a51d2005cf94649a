"""One replica on paper: the batching policy that ships, and a cost for each batch. Pure.

What it leaves out: HTTP, parsing and verification, which happen on another core than the worker's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.batching.policy import BatchLimits, choose

Cost = Callable[[Sequence[int]], float]  # source lengths of a batch -> seconds


@dataclass(frozen=True)
class Arrival:
    """A question: when it is admitted, and its source's length in tokens."""

    at_s: float
    length: int


@dataclass(frozen=True)
class Served:
    """What became of a question, and how many shared its batch."""

    wait_s: float
    inference_s: float
    rows: int


def simulate(arrivals: Sequence[Arrival], limits: BatchLimits, cost: Cost) -> list[Served]:
    """One result for each arrival, in order; `arrivals` ascend in time."""
    served: list[Served | None] = [None] * len(arrivals)
    waiting: list[int] = []
    now_s, coming = 0.0, 0
    while waiting or coming < len(arrivals):
        if not waiting:
            now_s = max(now_s, arrivals[coming].at_s)
        while coming < len(arrivals) and arrivals[coming].at_s <= now_s:
            waiting.append(coming)
            coming += 1
        chosen = choose([arrivals[i].length for i in waiting], limits)
        batch = [waiting[i] for i in chosen]
        waiting = [i for i in waiting if i not in set(batch)]
        seconds = cost([arrivals[i].length for i in batch])
        for i in batch:
            served[i] = Served(now_s - arrivals[i].at_s, seconds, len(batch))
        now_s += seconds
    return [result for result in served if result is not None]
