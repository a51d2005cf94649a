"""A cache of the latest answers; a deterministic model answers equal prompts equally."""

from __future__ import annotations

from collections import OrderedDict

from engine.contracts import Answer, Prompt


class AnswerCache:
    """Keep up to `size` answers and evict the least recently used. A size of 0 keeps none."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._answers: OrderedDict[Prompt, Answer] = OrderedDict()

    def get(self, prompt: Prompt) -> Answer | None:
        if (answer := self._answers.get(prompt)) is not None:
            self._answers.move_to_end(prompt)
        return answer

    def put(self, prompt: Prompt, answer: Answer) -> None:
        if not self._size:
            return
        self._answers[prompt] = answer
        self._answers.move_to_end(prompt)
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)
