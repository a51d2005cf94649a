"""The engine of known cost, compared with the simulation."""

from __future__ import annotations

import pytest

from bench.simulation import Arrival, Costs, simulate
from bench.sleeping import Sleeping
from engine.contracts import Prompt
from engine.generate import generate
from service.batching.policy import BatchLimits

COSTS = Costs(
    join=lambda questions: 0.002 + 0.001 * questions, step=lambda rows: 0.001 + 0.0005 * rows
)


class Clock:
    """A clock that only sleeping advances; each sleep lasts `late_s` too long."""

    def __init__(self, late_s: float) -> None:
        self.now_s = 0.0
        self._late_s = late_s

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds + self._late_s


@pytest.mark.parametrize("late_s", [0.0, 0.0003])
def test_it_sleeps_as_long_as_the_simulation_predicts(late_s: float) -> None:
    clock = Clock(late_s)
    engine = Sleeping(COSTS, rows=4, sleep=clock.sleep, clock=clock)
    steps = [3, 7, 5]
    prompts = [Prompt((1, 2), forced=(9,) * (count - 1)) for count in steps]
    assert [answer.best.tokens for answer in generate(engine, prompts)] == [
        [9] * (count - 1) for count in steps
    ]
    arrivals = [Arrival(0.0, 2, count) for count in steps]
    served = simulate(arrivals, BatchLimits(4, 100), COSTS, engines=1)
    expected_s = max(result.inference_s for result in served)
    assert clock.now_s == pytest.approx(expected_s, abs=1e-9 + late_s)


def test_cancelled_and_cleared_rows_are_removed() -> None:
    engine = Sleeping(COSTS, rows=4, sleep=lambda _: None)
    engine.join({"a": Prompt((1,)), "b": Prompt((2,), forced=(5, 6))})
    assert list(engine.step()) == ["a"]
    engine.leave(["b"])
    assert engine.active == 0
    engine.join({"c": Prompt((3,))})
    engine.clear()
    assert engine.step() == {}
