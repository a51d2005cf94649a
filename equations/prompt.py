"""A question as the text that a model reads, in one of three formats, and what it writes.

`digits`: what the small models read. Every digit is one token that says all there is to know about
it: `L-7x1^2` is a 7 on the left side, in a subtracted term, the second (counted from 0) of the
coefficients, at the hundreds. Constants have `k` in place of `x`. Template words and the variable's
name carry nothing and stay out; zero terms are dropped (an empty side means zero). Reversible:
`read_digits(write_digits(e))` is `e` without its zero terms, with `x` for its variable.
A product of two numbers, `3*14*x`, has the digits of its multiplier as `*3x1^0`, and after them its
other number in balanced digits (-5 to 4), each with a sign of its own. `sums` in front asks for the
two net sums alone, without a division (`write_sums`).

`text`: the dataset's own wording, which FLAN-T5 reads.

`spaced`: that wording with every digit apart, `Solve 2 4 = 1 6 0 1*c - 1 6 0 5*c for c.`, since the
pieces of T5's tokenizer split numbers irregularly (`1601` is `16` `01`). Answers likewise: `- 1 7`.
"""

from __future__ import annotations

import re

from equations.linear import Equation, Term, render_question

PLACES = 12  # digits of a number, in the model text: 10^0 .. 10^11
TERMS = 16  # terms of each kind, in the model text
MULTIPLIER_PLACES = 6  # digits of a multiplier
EMPTY = "0"  # stands for an equation without any term but zeros
SUMS = "sums"  # asks for the net sums alone
_TOKEN = re.compile(
    r"(?P<side>[LR])(?P<sign>[+-])(?P<digit>[0-9])(?P<term>[xk][0-9]{1,2})\^(?P<place>[0-9]{1,2})"
)
_MULTIPLIER = re.compile(r"\*(?P<digit>[0-9])(?P<term>[xk][0-9]{1,2})\^(?P<place>[0-9])")


_BEFORE_DIGIT = re.compile(r"(?<=[0-9-])(?=[0-9])")


class OutOfRange(ValueError):
    """An equation that the prompt format cannot express."""


def write_digits(equation: Equation) -> str:
    """The `digits` form of an equation with integer terms.

    Raises `OutOfRange` when a number has over `PLACES` digits or a kind over `TERMS` terms.
    """
    tokens: list[str] = []
    counts = {"x": 0, "k": 0}
    for side, terms in (("L", equation.left), ("R", equation.right)):
        for term in terms:
            if term.size == 0 or term.multiplier == 0:
                continue
            kind = "x" if term.is_coefficient else "k"
            if counts[kind] == TERMS:
                name = "terms with the variable" if term.is_coefficient else "constant terms"
                raise OutOfRange(f"over {TERMS} {name}")
            _write_term(tokens, side, f"{kind}{counts[kind]}^", term)
            counts[kind] += 1
    return " ".join(tokens) or EMPTY


def _write_term(tokens: list[str], side: str, name: str, term: Term) -> None:
    sign = "-" if term.negative else "+"
    if term.multiplier == 1:
        digits = str(term.size)
        if len(digits) > PLACES:
            raise OutOfRange(f"a number of {len(digits)} digits, over {PLACES}")
        last = len(digits) - 1
        tokens.extend(f"{side}{sign}{digit}{name}{last - i}" for i, digit in enumerate(digits))
        return
    multiplier, number = str(term.multiplier), balanced_digits(int(term.size))
    if len(multiplier) > MULTIPLIER_PLACES or len(number) > PLACES:
        raise OutOfRange(f"a product of {len(multiplier)} and {len(number)} digits")
    last = len(multiplier) - 1
    tokens.extend(f"*{digit}{name}{last - i}" for i, digit in enumerate(multiplier))
    for place in reversed(range(len(number))):
        subtracted = (number[place] < 0) != term.negative
        tokens.append(f"{side}{'-' if subtracted else '+'}{abs(number[place])}{name}{place}")


def write_sums(equation: Equation) -> str:
    """The question for the two net sums of an equation, without its solution."""
    return f"{SUMS} {write_digits(equation)}"


def balanced_digits(value: int) -> list[int]:
    """Digits from -5 to 4, lowest place first; no leading zero but that of 0."""
    digits: list[int] = []
    while value or not digits:
        value, digit = divmod(value + 5, 10)
        digits.append(digit - 5)
    return digits


def read_digits(text: str) -> Equation:
    """The inverse of `write_digits`. Raises `ValueError` for a text that it cannot have written."""
    sides: dict[str, dict[str, int]] = {"L": {}, "R": {}}
    multipliers: dict[str, int] = {}
    minus: dict[str, bool] = {}
    for token in text.split() if text != EMPTY else ():
        if match := _MULTIPLIER.fullmatch(token):
            parts = int(match["digit"]) * 10 ** int(match["place"])
            multipliers[match["term"]] = multipliers.get(match["term"], 0) + parts
            continue
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(f"not a digit token: {token!r}")
        terms, name = sides[match["side"]], match["term"]
        parts = int(match["digit"]) * 10 ** int(match["place"])
        terms[name] = terms.get(name, 0) + (-parts if match["sign"] == "-" else parts)
        minus.setdefault(name, match["sign"] == "-")
    left, right = (
        tuple(
            Term(abs(value), name[0] == "x", minus[name], multipliers.get(name, 1))
            for name, value in terms.items()
        )
        for terms in sides.values()
    )
    equation = Equation(left, right, "x")
    if write_digits(equation) != text:
        raise ValueError(f"not a digits prompt: {text!r}")
    return equation


def digits_vocabulary() -> list[str]:
    """Every token that `write_digits` and `write_sums` can use, in a fixed order."""
    names = [f"{kind}{index}" for kind in "xk" for index in range(TERMS)]
    return [
        EMPTY,
        SUMS,
        *(
            f"*{digit}{name}^{place}"
            for digit in range(10)
            for name in names
            for place in range(MULTIPLIER_PLACES)
        ),
        *(
            f"{side}{sign}{digit}{name}^{place}"
            for side in "LR"
            for sign in "+-"
            for digit in range(10)
            for name in names
            for place in range(PLACES)
        ),
    ]


def digits_factors(token: str) -> tuple[str, ...]:
    """Return the factors of a `digits` token, for embeddings that are sums of shared parts."""
    if match := _MULTIPLIER.fullmatch(token):
        digit, term, place = match.groups()
        return f"times {digit}", term, f"{term[0]}*^{place}"
    match = _TOKEN.fullmatch(token)
    if match is None:
        return (token,)
    side, sign, digit, term, place = match.groups()
    return f"{side}{sign}{digit}", term, f"{term[0]}^{place}"


def space_digits(text: str) -> str:
    """`text` with a space between digits, and between a sign and its number."""
    return _BEFORE_DIGIT.sub(" ", text)


def write_spaced(equation: Equation) -> str:
    """The `spaced` form of an equation with integer terms."""
    return space_digits(render_question(equation))
