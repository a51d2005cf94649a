"""A cache of the latest answers; a deterministic model answers equal prompts equally."""

from __future__ import annotations

from collections import OrderedDict

from engine.contracts import Hypothesis, Prompt


class AnswerCache:
    """Keep up to `size` answers and evict the least recently used. A size of 0 keeps none."""

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
