"""The prompts that models are scored on, which no training question may equal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from equations import planner
from equations.parser import parse_any
from equations.prompt import OutOfRange, write_digits
from equations.reading.question import Question
from training import data


def held_out_prompts(folder: Path) -> set[str]:
    """Return the `digits` prompts of every evaluation question in a folder.

    A system or a composed question has a prompt for each step of its plan. Prompts do not name
    variables, so a question is held out under every name. One that no prompt can hold cannot be
    learnt from either.
    """
    return {
        prompt
        for split in data.evaluation_splits(folder)
        for problem in data.read(data.split_file(folder, split))
        for prompt in _prompts(problem.question)
    }


def _prompts(question: str) -> Iterator[str]:
    asked = parse_any(question)
    if isinstance(asked, Question):
        _, steps = planner.rehearse(asked.system, asked.asked)
        for step in steps:
            with suppress(OutOfRange):
                yield step.prompt()
        return
    with suppress(OutOfRange):
        yield write_digits(asked.with_integers())
