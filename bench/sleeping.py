"""An engine of known cost that uses no core, to measure the real batcher on a busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping

from bench.simulation import Costs
from engine.contracts import Answer, Hypothesis, Progress, Prompt
from engine.echo import hypothesis


class Sleeping:
    """Implements `engine.contracts.Engine`: answers with the tokens that a prompt forces.

    The excess of each sleep is subtracted from the next, because steps take fractions of a
    millisecond and sleeps last longer than asked.
    """

    def __init__(
        self,
        costs: Costs,
        *,
        rows: int,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._costs = costs
        self._rows = rows
        self._sleep = sleep
        self._clock = clock
        self._left: dict[Hashable, list[int]] = {}  # tokens that are still to be written
        self._answers: dict[Hashable, Hypothesis] = {}
        self._due_s = 0.0

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def active(self) -> int:
        return len(self._answers)

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        self._spend(self._costs.join(len(prompts)))
        self._answers |= {key: hypothesis(prompt.forced) for key, prompt in prompts.items()}
        self._left |= {key: [*prompt.forced, 0] for key, prompt in prompts.items()}

    def step(self) -> dict[Hashable, Answer]:
        self._spend(self._costs.step(self.active))
        for tokens in self._left.values():
            tokens.pop()
        ended = [key for key, tokens in self._left.items() if not tokens]
        finished = {key: Answer((self._answers[key],)) for key in ended}
        self.leave(ended)
        return finished

    def written(self, key: Hashable, since: int) -> Progress:
        answer = self._answers[key]
        decoded = len(answer.tokens) + 1 - len(self._left[key])
        return Progress(answer.tokens[since:decoded], answer.logprobs[since:decoded], [])

    def leave(self, keys: Collection[Hashable]) -> None:
        for key in keys:
            del self._left[key], self._answers[key]

    def clear(self) -> None:
        self.leave(list(self._answers))

    def _spend(self, seconds: float) -> None:
        self._due_s += seconds
        if self._due_s > 0:
            started = self._clock()
            self._sleep(self._due_s)
            self._due_s -= self._clock() - started
