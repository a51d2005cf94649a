"""The worked form: what a small model writes on the way from an equation to its answer.

Each token is decided by a few others that attention can find, so that a model of a million
parameters learns every step as a table look-up:

- Numbers are rows of balanced decimal digits, -5 to 4, lowest place first. The sign of a number is
  that of its leading digit, so adding and subtracting are the same step, with no comparison of
  sizes and no complement. A digit is `x4~0^2`: of the coefficient (`k`: of the constant), the digit
  4, the carry it leaves, its place.
- `x1:` starts the row of the net coefficient after the terms 0 and 1, `x2:` after term 2, and so
  on; then `k1:`, ... for the constants (gathered on the right side). `x0:` copies a lone term.
- `x#4e2 x&-1,3` closes a net number with its leading digit and that digit's place, then the two
  digits after it: all that the next step needs to know of its size. `k#0` alone closes a zero.
- The quotient goes digit by digit from its highest place: `q1=4` subtracts 40 times the net
  coefficient from what is left of the constant; that remainder follows as a row. Near the edge of
  two digits both are right, and the next digit makes up for the choice; one digit in five is
  written as a model might misjudge it, so that it learns to mend with digits up to 9 of either
  sign. The last digit, at place 0, needs no remainder.
- The answer, in plain decimal: `=-3 .7` is -37.

A worked form can be read whatever a model wrote: what is missing or malformed is `None`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import count, zip_longest
from random import Random

from equations.linear import Equation
from equations.prompt import PLACES, TERMS

QUOTIENT_PLACES = 3
_DIGITS = range(-5, 5)  # balanced
_GOOD = 6  # a quotient digit leaves at most this to the next, either sign, ...
_MENDABLE = 9  # ... or at most this, where it is written as a slip
_SLIPS = 0.2  # share of quotient digits
_QUOTIENT_DIGITS = range(-_MENDABLE, _MENDABLE + 1)
_MOST_CARRY = 5
_DIGIT = re.compile(r"([xk])(-?[0-9])~(-?[0-9])\^([0-9]{1,2})")
_LEADING = re.compile(r"([xk])#(-?[0-9])e([0-9]{1,2})")
_NEXT = re.compile(r"([xk])&(-?[0-9]),(-?[0-9])")
_QUOTIENT_DIGIT = re.compile(r"q([0-9])=(-?[0-9])")
_ANSWER = re.compile(r"=(-?[0-9](?: \.[0-9])*)$")


@dataclass(frozen=True)
class Work:
    """What a model wrote: net coefficient, net constant and answer, `None` where unreadable."""

    coefficient: int | None
    constant: int | None
    answer: str | None

    def lines(self, variable: str) -> list[str] | None:
        """The steps for a person: `-4*c = 24`, then `c = -6`."""
        if self.coefficient is None or self.constant is None or self.answer is None:
            return None
        factor = {1: "", -1: "-"}.get(self.coefficient, f"{self.coefficient}*")
        return [f"{factor}{variable} = {self.constant}", f"{variable} = {self.answer}"]


def read(text: str) -> Work:
    """The worked form that `text` holds, whoever wrote it. Never raises."""
    net: dict[str, int | None] = {"x": None, "k": None}
    row: str | None = None  # the kind whose row is being read
    for token in text.split():
        if row is not None and (value := _digit(token)) is not None:
            net[row] = (net[row] or 0) + value
        elif token[1:].endswith(":") and token[0] in net:
            row, net[token[0]] = token[0], 0
        else:
            row = None  # a closed row, or the quotient, whose remainders nobody needs
    answer = _ANSWER.search(text)
    return Work(net["x"], net["k"], answer[1].replace(" .", "") if answer else None)


@lru_cache(maxsize=4096)  # more than the vocabulary has
def _digit(token: str) -> int | None:
    """What a digit of a row adds to its number; `None` for any other token."""
    match = _DIGIT.fullmatch(token)
    return int(match[2]) * 10 ** int(match[4]) if match else None


def expressible(solution: Fraction | None) -> bool:
    """Whether the worked form can end in this answer."""
    if solution is None or solution.denominator != 1:
        return False
    return abs(solution) <= int("5" * QUOTIENT_PLACES)


def read_quotient(text: str) -> int | None:
    """What the quotient digits in `text` come to; `None` where there are none. Never raises."""
    parts: list[int] = [
        int(match[2]) * 10 ** int(match[1])
        for token in text.split()
        if (match := _QUOTIENT_DIGIT.fullmatch(token))
    ]
    return sum(parts) if parts else None


def write(equation: Equation, random: Random) -> str:
    """The worked form of an equation with integer terms and an integer solution.

    Where several quotient digits will do, `random` chooses. Raises `ValueError` when the equation
    has no integer solution or its numbers do not fit the places of the form.
    """
    solution = equation.solution()
    if solution is None or solution.denominator != 1:
        raise ValueError(f"the solution is {solution}, not an integer")
    tokens: list[str] = []
    coefficient = _write_net(tokens, "x", _moved(equation, "x"))
    constant = _write_net(tokens, "k", _moved(equation, "k"))
    _write_quotient(tokens, coefficient, constant, int(solution), random)
    digits = str(abs(int(solution)))
    tokens.append(f"={'-' if solution < 0 else ''}{digits[0]}")
    tokens.extend(f".{digit}" for digit in digits[1:])
    return " ".join(tokens)


def vocabulary() -> list[str]:
    """Every token that `write` can use, in a fixed order."""
    places = [str(place) for place in range(PLACES)]
    return [
        *(f"{kind}{index}:" for kind in "xk" for index in range(TERMS)),
        *(
            f"{kind}#{digit}e{place}"
            for kind in "xk"
            for digit in _DIGITS
            if digit
            for place in places
        ),
        *(f"{kind}#0" for kind in "xk"),
        *(f"{kind}&{first},{second}" for kind in "xk" for first in _DIGITS for second in _DIGITS),
        *(f"q{place}={digit}" for place in range(QUOTIENT_PLACES) for digit in _QUOTIENT_DIGITS),
        *(f"={sign}{digit}" for sign in ("", "-") for digit in range(10)),
        *(f".{digit}" for digit in range(10)),
        *(
            f"{kind}{digit}~{carry}^{place}"
            for kind in "xk"
            for place in places
            for digit in _DIGITS
            for carry in range(-_MOST_CARRY, _MOST_CARRY + 1)
        ),
    ]


def factors(token: str) -> tuple[str, ...]:
    """What a token is made of, for embeddings that are sums of shared parts."""
    if match := _DIGIT.fullmatch(token):
        kind, digit, carry, place = match.groups()
        return f"{digit}~{carry}", f"{kind}~", f"^{place}"
    if match := _LEADING.fullmatch(token):
        kind, digit, place = match.groups()
        return f"#{digit}", f"{kind}#", f"e{place}"
    if match := _NEXT.fullmatch(token):
        kind, first, second = match.groups()
        return f"&{first},", f"{kind}&", f",{second}"
    return (token,)


def _moved(equation: Equation, kind: str) -> list[int]:
    """The nonzero terms of a kind, coefficients moved to the left side, constants to the right."""
    home = equation.left if kind == "x" else equation.right
    return [
        int(term.value if side is home else -term.value)
        for side in (equation.left, equation.right)
        for term in side
        if term.is_coefficient == (kind == "x") and term.size
    ]


def _write_net(tokens: list[str], kind: str, values: list[int]) -> list[int]:
    """Append the running sums of `values`; the digits of the last, lowest place first."""
    row, *others = [_digits(value) for value in values] or [[0]]
    if not others:
        tokens.append(f"{kind}0:")
        row = _write_row(tokens, kind, row)
    for index, number in enumerate(others, start=1):
        tokens.append(f"{kind}{index}:")
        columns = [a + b for a, b in zip_longest(row, number, fillvalue=0)]
        row = _write_row(tokens, kind, columns)
    _close(tokens, kind, row)
    return row


def _write_quotient(
    tokens: list[str], coefficient: list[int], constant: list[int], solution: int, random: Random
) -> None:
    rest, remainder = solution, constant
    for place in range(_places(solution, random) - 1, 0, -1):
        digit = random.choice(_quotient_digits(rest, place, random))
        rest -= digit * 10**place
        tokens.append(f"q{place}={digit}")
        taken = [0] * place + [digit * d for d in coefficient]
        columns = [a - b for a, b in zip_longest(remainder, taken, fillvalue=0)]
        remainder = _write_row(tokens, "k", columns)
        _close(tokens, "k", remainder)
    tokens.append(f"q0={rest}")


def _places(solution: int, random: Random) -> int:
    """The places of the quotient; sometimes one fewer than would be good, if that can be mended."""
    good = next(n for n in count(1) if abs(solution) <= int("5" * n))
    if good > QUOTIENT_PLACES:
        raise ValueError(f"the solution {solution} has over {QUOTIENT_PLACES} places")
    widest = _MENDABLE if random.random() < _SLIPS else _GOOD
    fewer = good > 1 and abs(solution) <= _most_left(widest, good - 1)
    return good - random.choice((0, 1)) if fewer else good


def _quotient_digits(rest: int, place: int, random: Random) -> list[int]:
    """Digits at `place` that leave no more than the places below can make up for."""

    def leaving(most: int) -> list[int]:
        return [digit for digit in _QUOTIENT_DIGITS if abs(rest - digit * 10**place) <= most]

    good = leaving(_most_left(_GOOD, place))
    slip = not good or random.random() < _SLIPS
    return leaving(_most_left(_MENDABLE, place)) if slip else good


def _most_left(widest: int, places: int) -> int:
    return int(str(widest) * places)


def _write_row(tokens: list[str], kind: str, columns: list[int]) -> list[int]:
    """Append the balanced digits of `sum(columns[p] * 10**p)`; those digits, lowest place first."""
    row: list[int] = []
    carry = 0
    while len(row) < len(columns) or carry:
        total = carry + (columns[len(row)] if len(row) < len(columns) else 0)
        carry, digit = divmod(total - _DIGITS.start, 10)
        digit += _DIGITS.start
        if len(row) == PLACES:
            raise ValueError(f"a number of over {PLACES} places")
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


def _digits(value: int) -> list[int]:
    """Plain decimal digits, lowest place first, each with the sign of the number."""
    sign = -1 if value < 0 else 1
    return [sign * int(digit) for digit in reversed(str(abs(value)))]
