"""A question as the text that a model reads, in one of three formats, and what it writes.

`digits`: what the small models read. Every digit is one token that says all there is to know about
it: `L-7x1^2` is a 7 on the left side, in a subtracted term, the second (counted from 0) of the
coefficients, at the hundreds. Constants have `k` in place of `x`. Template words and the variable's
name carry nothing and stay out; zero terms are dropped (an empty side means zero). Reversible:
`read_digits(write_digits(e))` is `e` without its zero terms, with `x` for its variable.

`text`: the dataset's own wording, which FLAN-T5 reads.

`spaced`: that wording with every digit apart, `Solve 2 4 = 1 6 0 1*c - 1 6 0 5*c for c.`, since the
pieces of T5's tokenizer split numbers irregularly (`1601` is `16` `01`). Answers likewise: `- 1 7`.
"""

from __future__ import annotations

import re
from fractions import Fraction

from equations.linear import Equation, Term, render_question

PLACES = 12  # digits of a number, in the model text: 10^0 .. 10^11
TERMS = 8  # terms of each kind, in the model text
EMPTY = "0"  # stands for an equation without any term but zeros
_TOKEN = re.compile(
    r"(?P<side>[LR])(?P<sign>[+-])(?P<digit>[0-9])(?P<term>[xk][0-9])\^(?P<place>[0-9]{1,2})"
)


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
            if term.size == 0:
                continue
            kind = "x" if term.is_coefficient else "k"
            if counts[kind] == TERMS:
                name = "terms with the variable" if term.is_coefficient else "constant terms"
                raise OutOfRange(f"over {TERMS} {name}")
            digits = str(term.size)
            if len(digits) > PLACES:
                raise OutOfRange(f"a number of {len(digits)} digits, over {PLACES}")
            head, tail = f"{side}{'-' if term.negative else '+'}", f"{kind}{counts[kind]}^"
            last = len(digits) - 1
            tokens.extend(f"{head}{digit}{tail}{last - i}" for i, digit in enumerate(digits))
            counts[kind] += 1
    return " ".join(tokens) or EMPTY


def read_digits(text: str) -> Equation:
    """The inverse of `write_digits`. Raises `ValueError` for a text that it cannot have written."""
    sides: dict[str, dict[str, Term]] = {"L": {}, "R": {}}
    for token in text.split() if text != EMPTY else ():
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise ValueError(f"not a digit token: {token!r}")
        terms, name = sides[match["side"]], match["term"]
        size = Fraction(int(match["digit"]) * 10 ** int(match["place"]))
        if name in terms:
            size += terms[name].size
        terms[name] = Term(size, is_coefficient=name[0] == "x", negative=match["sign"] == "-")
    equation = Equation(tuple(sides["L"].values()), tuple(sides["R"].values()), "x")
    if write_digits(equation) != text:
        raise ValueError(f"not a digits prompt: {text!r}")
    return equation


def digits_vocabulary() -> list[str]:
    """Every token that `write_digits` can use, in a fixed order."""
    return [EMPTY] + [
        f"{side}{sign}{digit}{kind}{index}^{place}"
        for side in "LR"
        for sign in "+-"
        for digit in range(10)
        for kind in "xk"
        for index in range(TERMS)
        for place in range(PLACES)
    ]


def digits_factors(token: str) -> tuple[str, ...]:
    """What a `digits` token is made of, for embeddings that are sums of shared parts."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return (token,)
    side, sign, digit, term, place = match.groups()
    return (f"{side}{sign}{digit}", term, f"{term[0]}^{place}")


def space_digits(text: str) -> str:
    """`text` with a space between digits, and between a sign and its number."""
    return _BEFORE_DIGIT.sub(" ", text)


def write_spaced(equation: Equation) -> str:
    """The `spaced` form of an equation with integer terms."""
    return space_digits(render_question(equation))
