"""Remember recent questions word for word: their answers may be cached or in progress."""

from __future__ import annotations

from equations.limits import MAX_CHARACTERS


class RecentQuestions:
    """The latest questions, up to `size`; the least recent is discarded first.

    A text too long to be understood is not kept, so that clients cannot fill the memory.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._questions: dict[str, None] = {}  # in order of age

    def __contains__(self, question: str) -> bool:
        return question in self._questions

    def add(self, question: str) -> None:
        if len(question) > MAX_CHARACTERS:
            return
        self._questions.pop(question, None)
        self._questions[question] = None
        if len(self._questions) > self._size:
            del self._questions[next(iter(self._questions))]
