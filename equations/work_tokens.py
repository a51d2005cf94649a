"""The tokens of the worked form (`equations.work`): their vocabulary, and what each is made of."""

from __future__ import annotations

import re
from functools import lru_cache

from equations.prompt import MULTIPLIER_PLACES, PLACES, TERMS

ROW_PLACES = PLACES + 2  # digits of a sum
QUOTIENT_PLACES = 12
BALANCED = range(-5, 5)
QUOTIENT_DIGITS = range(-9, 10)
MOST_CARRY = 5
NO_QUOTIENT = "/"  # the answer is the fraction of the two net sums
_DIGIT = re.compile(r"([xk])(-?[0-9])~(-?[0-9])\^([0-9]{1,2})")
_LEADING = re.compile(r"([xk])#(-?[0-9])e([0-9]{1,2})")
_NEXT = re.compile(r"([xk])&(-?[0-9]),(-?[0-9])")
_QUOTIENT_DIGIT = re.compile(r"q([0-9]{1,2})=(-?[0-9])")
_TIMES = re.compile(r"\*([0-9])\^([0-9])")


def vocabulary() -> list[str]:
    """Every token that `equations.work.write` can use, in a fixed order."""
    places = [str(place) for place in range(ROW_PLACES)]
    return [
        *(f"{kind}{index}:" for kind in "xk" for index in range(TERMS)),
        *(f"*{digit}^{place}" for digit in range(10) for place in range(MULTIPLIER_PLACES)),
        *(
            f"{kind}#{digit}e{place}"
            for kind in "xk"
            for digit in BALANCED
            if digit
            for place in places
        ),
        *(f"{kind}#0" for kind in "xk"),
        *(f"{kind}&{first},{second}" for kind in "xk" for first in BALANCED for second in BALANCED),
        *(f"q{place}={digit}" for place in range(QUOTIENT_PLACES) for digit in QUOTIENT_DIGITS),
        NO_QUOTIENT,
        *(
            f"{kind}{digit}~{carry}^{place}"
            for kind in "xk"
            for place in places
            for digit in BALANCED
            for carry in range(-MOST_CARRY, MOST_CARRY + 1)
        ),
    ]


def quotient_digits() -> list[str]:
    """Return the quotient digits of which two may be right, those before the last one."""
    return [f"q{place}={digit}" for place in range(1, QUOTIENT_PLACES) for digit in QUOTIENT_DIGITS]


def factors(token: str) -> tuple[str, ...]:
    """Return the factors of a token, for embeddings that are sums of shared parts."""
    if match := _DIGIT.fullmatch(token):
        kind, digit, carry, place = match.groups()
        return f"{digit}~{carry}", f"{kind}~", f"^{place}"
    if match := _LEADING.fullmatch(token):
        kind, digit, place = match.groups()
        return f"#{digit}", f"{kind}#", f"e{place}"
    if match := _NEXT.fullmatch(token):
        kind, first, second = match.groups()
        return f"&{first},", f"{kind}&", f",{second}"
    if match := _QUOTIENT_DIGIT.fullmatch(token):
        place, digit = match.groups()
        return f"q{place}", f"q={digit}", token if int(place) < 3 else ""
    if match := _TIMES.fullmatch(token):
        digit, place = match.groups()
        return f"*{digit}", f"*^{place}"
    return (token,)


@lru_cache(maxsize=4096)  # more than the vocabulary has
def row_digit(token: str) -> int | None:
    """Return what a digit of a row adds to its number; `None` for any other token."""
    match = _DIGIT.fullmatch(token)
    return int(match[2]) * 10 ** int(match[4]) if match else None


@lru_cache(maxsize=512)
def quotient_digit(token: str) -> int | None:
    """Return what a quotient digit adds to the quotient; `None` for any other token."""
    match = _QUOTIENT_DIGIT.fullmatch(token)
    return int(match[2]) * 10 ** int(match[1]) if match else None
