"""Simulate one replica with the real joining policy and given costs of joins and steps. Pure.

The simulation leaves out HTTP, parsing, verification, alternatives, shared and cached answers, and
the slowdown of engines that run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from service.batching.policy import BatchLimits, Size, joining

Cost = Callable[[int], float]  # rows -> seconds


@dataclass(frozen=True)
class Costs:
    """The costs of a join of several questions, and of a step of all rows."""

    join: Cost
    step: Cost


@dataclass(frozen=True)
class Arrival:
    """A question: the time of its admission, its source's length, and its answer's tokens."""

    at_s: float
    length: int
    steps: int  # at least one: the end token counts


@dataclass(frozen=True)
class Served:
    """The seconds that a question waited for a row, and was in it."""

    wait_s: float
    inference_s: float


@dataclass
class _Engine:
    steps_left: dict[int, int] = field(default_factory=dict)  # of the questions in its rows
    free_s: float = 0.0  # when its step ends

    def start(self, joins: dict[int, int], now_s: float, costs: Costs) -> None:
        self.steps_left |= joins
        join_s = costs.join(len(joins)) if joins else 0.0
        self.free_s = now_s + join_s + costs.step(len(self.steps_left))

    def finish(self) -> list[int]:
        """Return the questions whose answers the step has finished."""
        left = {question: steps - 1 for question, steps in self.steps_left.items()}
        self.steps_left = {question: steps for question, steps in left.items() if steps}
        return [question for question, steps in left.items() if not steps]


def simulate(
    arrivals: Sequence[Arrival], limits: BatchLimits, costs: Costs, *, engines: int
) -> list[Served]:
    """Return a result for each arrival, in order; `arrivals` ascend in time."""
    replica = [_Engine() for _ in range(engines)]
    waiting: list[int] = []
    joined_s: dict[int, float] = {}
    served: dict[int, Served] = {}
    coming = 0
    while len(served) < len(arrivals):
        events_s = [engine.free_s for engine in replica if engine.steps_left]
        now_s = min(events_s + [arrival.at_s for arrival in arrivals[coming : coming + 1]])
        while coming < len(arrivals) and arrivals[coming].at_s <= now_s:
            waiting.append(coming)
            coming += 1
        between_steps = [engine for engine in replica if engine.free_s <= now_s]
        for engine in between_steps:
            for i in engine.finish():
                served[i] = Served(joined_s[i] - arrivals[i].at_s, now_s - joined_s[i])
        for engine in between_steps:
            free = limits.rows - len(engine.steps_left)
            idle = sum(not other.steps_left for other in replica)
            sizes = [Size(arrivals[i].length) for i in waiting]
            count = joining(sizes, free, limits, sharing=idle)
            chosen, waiting = waiting[:count], waiting[count:]
            joined_s |= dict.fromkeys(chosen, now_s)
            if chosen or engine.steps_left:
                engine.start({i: arrivals[i].steps for i in chosen}, now_s, costs)
    return [served[i] for i in range(len(arrivals))]
