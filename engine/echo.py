"""A fake engine for tests: the answer of each row is its own source."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable, Mapping

from engine.contracts import Answer, Hypothesis, Progress, Prompt, Tokens


def hypothesis(tokens: Tokens) -> Hypothesis:
    """Return a hypothesis of these tokens with log-probabilities of zero."""
    certain = [0.0] * (len(tokens) + 1)
    return Hypothesis(list(tokens), certain, [0] * len(certain), [-99.0] * len(certain))


class EchoEngine:
    """Echo each source, one token a step.

    `before` is called at the start of every step with the active sources, in the engine's thread:
    tests block or raise there. `answer` replaces the echo with another function of the prompt.
    """

    def __init__(
        self,
        before: Callable[[list[Tokens]], None] | None = None,
        *,
        rows: int = 64,
        answer: Callable[[Prompt], Tokens] = lambda prompt: prompt.source,
    ) -> None:
        self._before = before
        self._answer = answer
        self._busy = threading.Lock()
        self._prompts: dict[Hashable, Prompt] = {}
        self._steps_left: dict[Hashable, int] = {}
        self._rows = rows
        self.joins: list[list[Tokens]] = []

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def active(self) -> int:
        return sum(prompt.rows for prompt in self._prompts.values())

    def join(self, prompts: Mapping[Hashable, Prompt]) -> None:
        rows = sum(prompt.rows for prompt in prompts.values())
        assert rows <= self._rows - self.active, "more rows than are free"
        self.joins.append([prompt.source for prompt in prompts.values()])
        self._prompts |= prompts
        self._steps_left |= {key: len(prompt.source) for key, prompt in prompts.items()}

    def step(self) -> dict[Hashable, Answer]:
        if not self._busy.acquire(blocking=False):
            raise AssertionError("two steps at once: an engine has one worker")
        try:
            if self._before is not None:
                self._before([prompt.source for prompt in self._prompts.values()])
            for key in self._steps_left:
                self._steps_left[key] -= 1
            ended = [key for key, left in self._steps_left.items() if left <= 0]
            finished = {key: self._answer_of(self._prompts[key]) for key in ended}
            self.leave(ended)
            return finished
        finally:
            self._busy.release()

    def _answer_of(self, prompt: Prompt) -> Answer:
        """Return the echo as often as the prompt wants answers."""
        echo = hypothesis(self._answer(prompt))
        return Answer((echo,) * prompt.decoding.num_return_sequences)

    def written(self, key: Hashable, since: int) -> Progress:
        prompt = self._prompts[key]
        decoded = len(prompt.source) - self._steps_left[key]
        tokens = list(self._answer(prompt)[since:decoded])
        return Progress(tokens, [0.0] * len(tokens), [])

    def leave(self, keys: Collection[Hashable]) -> None:
        for key in keys:
            del self._prompts[key], self._steps_left[key]

    def clear(self) -> None:
        self.leave(list(self._prompts))
