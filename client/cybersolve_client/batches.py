"""Split many questions into as few requests as the server's limits allow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

_AROUND_BYTES = 200  # bytes of a body beside its questions


def batches(
    questions: Sequence[str], *, most_questions: int, most_bytes: int
) -> Iterator[Sequence[str]]:
    """Yield slices of `questions` in order. A question too large for a body is alone in one."""
    start, size = 0, _AROUND_BYTES
    for index, question in enumerate(questions):
        question_bytes = len(json.dumps(question)) + 2  # the comma and space between two
        if index > start and (
            index - start == most_questions or size + question_bytes > most_bytes
        ):
            yield questions[start:index]
            start, size = index, _AROUND_BYTES
        size += question_bytes
    if questions:
        yield questions[start:]
