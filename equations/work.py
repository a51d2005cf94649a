"""The worked form: what a small model writes on the way from an equation to its answer.

Each token is decided by a few others that attention can find, so that a model of a million
parameters learns every step as a table look-up:

- Numbers are rows of balanced decimal digits, -5 to 4, lowest place first. The sign of a number is
  that of its leading digit, so adding and subtracting are the same step, with no comparison of
  sizes and no complement. A digit is `x4~0^2`: of the coefficient (`k`: of the constant), the digit
  4, the carry it leaves, its decimal place.
- `x1:` starts the row of the net coefficient after the terms 0 and 1, `x2:` after term 2, and so
  on; then `k1:`, ... for the constants (gathered on the right side). `x0:` copies a lone term.
- `x1: *3^2` adds 300 times the number of term 1, for the digit 3 of its multiplier: one row for
  each digit of a multiplier, from its highest place. The row before it holds term 0 by itself.
- `x#4e2 x&-1,3` closes a net number with its leading digit and that digit's place, then the two
  digits after it: all that the next step needs to know of its size. `k#0` alone closes a zero.
- The quotient goes digit by digit from its highest place: `q1=4` subtracts 40 times the net
  coefficient from what is left of the constant; that remainder follows as a row. Near the edge of
  two digits both are right, and the next digit makes up for the choice; one digit in five is
  written as a model might misjudge it, so that it learns to mend with digits up to 9 of either
  sign. The quotient digits are the answer: `q1=4`, `q0=-3` is 37.
- After `q0` the last remainder follows, from its lowest place up to its first digit that is not
  zero. Where there is one, `/` says that the answer is the fraction of the two net sums. Where all
  are zero the form ends after at most two of them, or one fewer than the net coefficient has.
- A net coefficient of zero ends the form after the net constant, as does a question for sums alone.

A worked form can be read whatever a model wrote: what is missing or malformed is `None`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import count, zip_longest
from random import Random

from equations.linear import Equation
from equations.prompt import balanced_digits
from equations.work_tokens import (
    BALANCED,
    NO_QUOTIENT,
    QUOTIENT_DIGITS,
    QUOTIENT_PLACES,
    ROW_PLACES,
    quotient_digit,
    row_digit,
)

_GOOD = 6  # a quotient digit leaves at most this to the next, either sign, ...
_MENDABLE = 9  # ... or at most this, where it is written as a slip
_SLIPS = 0.2  # share of quotient digits
# Zeros of a last remainder that are written before a form may end. With none, the model decided in
# one token that nothing is left, and took one remainder in four for zero that only ends in a zero.
_ZEROS = 2
_DECIMAL_ANSWER = re.compile(r"(?:^|\s)=(-?[0-9](?: \.[0-9])*)$")


@dataclass(frozen=True)
class Work:
    """The net coefficient, net constant and answer that a model wrote; `None` where unreadable."""

    coefficient: int | None
    constant: int | None
    answer: str | None

    def lines(self, variable: str) -> list[str] | None:
        """Return the steps for a person: `-4*c = 24`, then `c = -6`."""
        if self.coefficient is None or self.constant is None:
            return None
        if self.coefficient == 0:
            every = "no solution" if self.constant else f"every {variable} is a solution"
            return [f"0*{variable} = {self.constant}", every]
        if self.answer is None:
            return None
        factor = {1: "", -1: "-"}.get(self.coefficient, f"{self.coefficient}*")
        return [f"{factor}{variable} = {self.constant}", f"{variable} = {self.answer}"]


def read(text: str) -> Work:
    """Return the worked form that `text` holds, whoever wrote it. Never raises."""
    net: dict[str, int | None] = {"x": None, "k": None}
    quotient: int | None = None
    kind: str | None = None  # of the row that is being read
    row = 0
    for token in text.split():
        if kind is not None and (value := row_digit(token)) is not None:
            row += value
        elif (value := quotient_digit(token)) is not None:
            quotient = (quotient or 0) + value
            kind = None  # remainders follow, which nobody needs
        elif token[0] in net and token[1:].endswith(":"):
            kind, row = token[0], 0
        elif token[0] != "*":
            kind = None  # a closed row
        if kind is not None:
            net[kind] = row
    return Work(net["x"], net["k"], _answer(text, net["x"], net["k"], quotient))


def _answer(
    text: str, coefficient: int | None, constant: int | None, quotient: int | None
) -> str | None:
    last = text.rfind("=")
    if decimal := _DECIMAL_ANSWER.match(text, max(0, last - 1)):  # as models before version 2 end
        return decimal[1].replace(" .", "")
    if text.endswith(NO_QUOTIENT):
        if not coefficient or constant is None:
            return None
        return str(Fraction(constant, coefficient))
    return None if quotient is None or "q0=" not in text else str(quotient)


def read_quotient(text: str) -> int | None:
    """Return the sum of the quotient digits in `text`, `None` without any. Never raises."""
    parts = [value for token in text.split() if (value := quotient_digit(token)) is not None]
    return sum(parts) if parts else None


def expressible(solution: Fraction | None) -> bool:
    """Return whether the worked form can end in this answer."""
    return solution is not None


def write(equation: Equation, random: Random, *, divide: bool = True) -> str:
    """Write the worked form of an equation with integer terms; without `divide`, of its sums alone.

    Where several quotient digits will do, `random` chooses. Raises `ValueError` when its numbers
    do not fit the places of the form.
    """
    tokens: list[str] = []
    coefficient = _write_net(tokens, "x", equation)
    constant = _write_net(tokens, "k", equation)
    if divide and coefficient:
        _write_quotient(tokens, coefficient, constant, random)
    return " ".join(tokens)


def _write_net(tokens: list[str], kind: str, equation: Equation) -> int:
    """Append the running sums of the terms of a kind; what they come to."""
    terms = _moved(equation, kind)
    row = [0]
    first = 0  # the first term that a row adds to those before it
    if not terms or (len(terms) == 1 and terms[0][1] == 1):
        tokens.append(f"{kind}0:")
        row, first = _write_row(tokens, kind, terms[0][0] if terms else [0]), 1
    elif terms[0][1] == 1:
        row, first = terms[0][0], 1
        if terms[1][1] != 1:
            tokens.append(f"{kind}0:")
            row = _write_row(tokens, kind, row)
    for index, (number, multiplier) in enumerate(terms[first:], start=first):
        if multiplier == 1:
            tokens.append(f"{kind}{index}:")
            row = _write_row(tokens, kind, _columns(row, 1, number, 0))
            continue
        digits = [int(digit) for digit in str(multiplier)]
        for place, digit in zip(reversed(range(len(digits))), digits, strict=True):
            tokens += [f"{kind}{index}:", f"*{digit}^{place}"]
            row = _write_row(tokens, kind, _columns(row, digit, number, place))
    _close(tokens, kind, row)
    return sum(digit * 10**place for place, digit in enumerate(row))


def _moved(equation: Equation, kind: str) -> list[tuple[list[int], int]]:
    """The nonzero terms of a kind as signed digits, lowest place first, and their multipliers;
    coefficients moved to the left side, constants to the right.
    """
    home = equation.left if kind == "x" else equation.right
    moved = []
    for side in (equation.left, equation.right):
        for term in side:
            if term.is_coefficient != (kind == "x") or not term.size or not term.multiplier:
                continue
            sign = -1 if term.negative == (side is home) else 1
            size = int(term.size)
            digits = (
                map(int, reversed(str(size))) if term.multiplier == 1 else balanced_digits(size)
            )
            moved.append(([sign * digit for digit in digits], term.multiplier))
    return moved


def _write_quotient(tokens: list[str], coefficient: int, constant: int, random: Random) -> None:
    divisor, remainder = balanced_digits(coefficient), balanced_digits(constant)
    rest = (2 * constant + coefficient) // (2 * coefficient)  # the nearest integer
    if len(str(abs(rest))) > QUOTIENT_PLACES or abs(rest) > int("5" * QUOTIENT_PLACES):
        tokens.append(NO_QUOTIENT)
        return
    for place in range(_places(rest, random) - 1, 0, -1):
        digit = random.choice(_quotient_digits(rest, place, random))
        rest -= digit * 10**place
        constant -= digit * 10**place * coefficient
        tokens.append(f"q{place}={digit}")
        _write_row(tokens, "k", _columns(remainder, -digit, divisor, place))
        remainder = balanced_digits(constant)
        _close(tokens, "k", remainder)
    tokens.append(f"q0={rest}")
    start = len(tokens)
    row = _write_row(tokens, "k", _columns(remainder, -rest, divisor, 0))
    first = next((place for place, digit in enumerate(row) if digit), None)
    if first is None:
        del tokens[start + min(_ZEROS, len(divisor) - 1) :]
    else:
        del tokens[start + first + 1 :]
        tokens.append(NO_QUOTIENT)


def _places(solution: int, random: Random) -> int:
    """The places of the quotient; sometimes one fewer than would be good, if that can be mended."""
    good = next(n for n in count(1) if abs(solution) <= int("5" * n))
    widest = _MENDABLE if random.random() < _SLIPS else _GOOD
    fewer = good > 1 and abs(solution) <= _most_left(widest, good - 1)
    return good - random.choice((0, 1)) if fewer else good


def _quotient_digits(rest: int, place: int, random: Random) -> list[int]:
    """Digits at `place` that leave no more than the places below can make up for."""

    def leaving(most: int) -> list[int]:
        return [digit for digit in QUOTIENT_DIGITS if abs(rest - digit * 10**place) <= most]

    good = leaving(_most_left(_GOOD, place))
    slip = not good or random.random() < _SLIPS
    return leaving(_most_left(_MENDABLE, place)) if slip else good


def _most_left(widest: int, places: int) -> int:
    return int(str(widest) * places)


def _columns(row: list[int], factor: int, number: list[int], place: int) -> list[int]:
    """`row + factor * number * 10**place`, place by place, without carrying."""
    moved = [0] * place + [factor * digit for digit in number]
    return [a + b for a, b in zip_longest(row, moved, fillvalue=0)]


def _write_row(tokens: list[str], kind: str, columns: list[int]) -> list[int]:
    """Append the balanced digits of `sum(columns[p] * 10**p)`; those digits, lowest place first."""
    row: list[int] = []
    carry = 0
    while len(row) < len(columns) or carry:
        total = carry + (columns[len(row)] if len(row) < len(columns) else 0)
        carry, digit = divmod(total - BALANCED.start, 10)
        digit += BALANCED.start
        if len(row) == ROW_PLACES:
            raise ValueError(f"a number of over {ROW_PLACES} places")
        tokens.append(f"{kind}{digit}~{carry}^{len(row)}")
        row.append(digit)
    return row


def _close(tokens: list[str], kind: str, row: list[int]) -> None:
    """Append what the division needs to know of the size of a number."""
    place = max((place for place, digit in enumerate(row) if digit), default=None)
    if place is None:
        tokens.append(f"{kind}#0")
        return
    first, second = [0, 0, *row][place : place + 2][::-1]
    tokens += [f"{kind}#{row[place]}e{place}", f"{kind}&{first},{second}"]
