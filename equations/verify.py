"""Judge an answer by substituting it into its equation. Exact, and three-valued."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from equations.linear import Equation

MAX_ANSWER_CHARACTERS = 100
_ANSWER = re.compile(r"[+-]?[0-9]+(?:/0*[1-9][0-9]*|\.[0-9]+)?")


class Verdict(StrEnum):
    CORRECT = "correct"
    WRONG = "wrong"
    UNVERIFIABLE = "unverifiable"


@dataclass(frozen=True)
class Verification:
    """A verdict; `reason` is null for answers that are plain correct or wrong numbers."""

    verdict: Verdict
    reason: str | None = None


def read_answer(text: str) -> Fraction | None:
    """`-6`, `3/4` or `0.5` as an exact number; `None` for any other text."""
    if len(text) > MAX_ANSWER_CHARACTERS or not _ANSWER.fullmatch(text):
        return None
    return Fraction(int(text) if text.lstrip("+-").isdigit() else text)


def verify(equation: Equation, answer: str) -> Verification:
    """Return whether `answer` solves `equation`.

    An equation without exactly one solution makes every answer unverifiable; otherwise a text that
    is not a number is wrong, and says so.
    """
    net = equation.net()
    if net.coefficient == 0:
        reason = "infinitely many solutions" if net.constant == 0 else "no solution"
        return Verification(Verdict.UNVERIFIABLE, reason)
    value = read_answer(answer)
    if value is None:
        return Verification(Verdict.WRONG, "the answer is not a number")
    if net.coefficient * value.numerator + net.constant * value.denominator == 0:
        return Verification(Verdict.CORRECT)
    return Verification(Verdict.WRONG)
