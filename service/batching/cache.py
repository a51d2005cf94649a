"""The latest answers: a model that is deterministic need not be asked the same twice."""

from __future__ import annotations

from collections import OrderedDict

from engine.contracts import Hypothesis, Prompt


class AnswerCache:
    """Up to `size` answers; the least recently used goes first. With a size of 0 there are none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[Prompt, Hypothesis] = OrderedDict()

    def get(self, prompt: Prompt) -> Hypothesis | None:
        if prompt not in self._answers:
            return None
        self._answers.move_to_end(prompt)
        return self._answers[prompt]

    def put(self, prompt: Prompt, hypothesis: Hypothesis) -> None:
        self._answers[prompt] = hypothesis
        self._answers.move_to_end(prompt)
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)
