"""Measure how near a wrong answer comes, and which step of its worked form went wrong first. Pure.

Token overlap says nothing here: an answer has one or two tokens, and 21 for -21 is as good as 99.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from equations import work
from equations.linear import Equation
from equations.verify import read_answer
from equations.work_tokens import NO_QUOTIENT

PLACES = ("units", "tens", "hundreds")  # 10^0, 10^1, 10^2
_WORKED = re.compile(r"x[0-9]:")  # every worked form starts so


class Step(StrEnum):
    """The steps of the worked form, in their order."""

    COEFFICIENT = "net coefficient"
    CONSTANT = "net constant"
    DIVISION = "division"
    ANSWER = "answer"  # copied from the quotient's digits, by models before version 2


@dataclass(frozen=True)
class Partial:
    """An answer compared with the right one. All false or `None` where it is not a number."""

    is_number: bool
    sign_only: bool  # the right number but for its sign
    same_length: bool  # as many digits before the point
    digits: tuple[bool | None, ...]  # right at each of PLACES; None where neither has a digit
    edits: int  # characters to insert, delete or replace
    absolute_error: Fraction | None
    relative_error: Fraction | None  # also None where the right answer is 0


def compare(answer: str | None, expected: str) -> Partial:
    """Raises `ValueError` where `expected` is not a number."""
    right = read_answer(expected)
    if right is None:
        raise ValueError(f"the right answer is not a number: {expected!r}")
    found = read_answer(answer or "")
    error = None if found is None else abs(found - right)
    return Partial(
        is_number=found is not None,
        sign_only=found is not None and found != right and found == -right,
        same_length=found is not None and len(_magnitude(found)) == len(_magnitude(right)),
        digits=tuple(_digit_right(found, right, place) for place in range(len(PLACES))),
        edits=edit_distance(answer or "", expected),
        absolute_error=error,
        relative_error=error / abs(right) if error is not None and right else None,
    )


def _magnitude(number: Fraction) -> str:
    """Return the digits of an answer before the point, without a sign."""
    return str(int(abs(number)))


def _digit_right(found: Fraction | None, right: Fraction, place: int) -> bool | None:
    """Return whether both magnitudes have the same digit at 10^`place`.

    `None` where neither is that long; a digit that one of them lacks is wrong.
    """
    digits = [
        _magnitude(number)[::-1][place : place + 1] if number is not None else ""
        for number in (found, right)
    ]
    return digits[0] == digits[1] if any(digits) else None


def edit_distance(one: str, other: str) -> int:
    """Levenshtein's: the fewest insertions, deletions and replacements between two texts."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def writes_work(text: str) -> bool:
    """Return whether a text begins as a worked form does, rather than with a bare answer."""
    return _WORKED.match(text) is not None


def first_failed_step(equation: Equation, text: str) -> Step | None:
    """The first step of a worked form that came out wrong, whatever it was worked from.

    Only results count: a slip among the running sums or remainders that a later one mends is no
    failure. `None` where all is right, where `text` is no worked form, and where the equation has
    no single solution to come to.
    """
    solution = equation.solution()
    if solution is None or not writes_work(text):
        return None
    net, written = equation.net(), work.read(text)
    if written.coefficient != net.coefficient:
        return Step.COEFFICIENT
    if written.constant != -net.constant:
        return Step.CONSTANT
    quotient = work.read_quotient(text)
    if quotient != solution and not text.endswith(NO_QUOTIENT):
        return Step.DIVISION
    answer = read_answer(written.answer or "")
    return Step.ANSWER if answer != solution else None
