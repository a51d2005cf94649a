"""The registry of prompt formats: the text a model reads for a question, and how its text is read.

A bundle and a checkpoint name their format; training, export and serving look it up here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from equations import work
from equations.linear import Equation, render_question
from equations.parser import parse
from equations.prompt import space_digits, write_digits, write_spaced
from equations.work import Work

_DIGITS_WORD = "L+0x0^0"  # in the vocabulary of every model that reads `digits`
CONFIG_KEY = "prompt_format"  # under which a checkpoint's configuration records its format


@dataclass(frozen=True)
class Format:
    """A prompt format and the target format that goes with it."""

    name: str
    target: str  # the manifest's `target_format`
    prompt: Callable[[Equation], str]  # for integer terms; raises `equations.prompt.OutOfRange`
    write_answer: Callable[[str], str] | None  # target text of an answer; None: a worked form
    read: Callable[[str], Work]  # never raises

    def encode(self, question: str) -> str:
        """Return the model's text for a question.

        Raises `equations.errors.EquationError` and `equations.prompt.OutOfRange`.
        """
        return self.prompt(parse(question).with_integers())

    @property
    def writes_work(self) -> bool:
        """True where the model writes the steps to its answer, False where the answer alone."""
        return self.write_answer is None

    def expressible(self, solution: Fraction | None) -> bool:
        """Return False where the target format cannot hold this solution."""
        return not self.writes_work or work.expressible(solution)


def _bare(answer: str) -> Work:
    return Work(None, None, answer or None)


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("digits", "work", write_digits, None, work.read),
        Format("text", "answer", render_question, str, lambda text: _bare(text.strip())),
        Format(
            "spaced",
            "spaced",
            write_spaced,
            space_digits,
            lambda text: _bare("".join(text.split())),
        ),
    )
}


def detect(recorded: object, token_id: Callable[[str], int | None]) -> str:
    """Return the name of a checkpoint's format.

    That is the `recorded` one if there is one, else `digits` where the vocabulary has the tokens
    of that prompt, else `text`. `token_id` returns the id of a token, or `None`.
    """
    if recorded is not None:
        return str(recorded)
    return "digits" if token_id(_DIGITS_WORD) is not None else "text"
