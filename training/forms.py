"""Questions as textbooks set them and as people type them, beyond what the generator has.

Written as text, apart from `training.mixture`, so that what a model is scored on is not made by the
code that made what it learnt from. Everything draws from the global state of `random`, as
`training.generator` does. Answers are whole numbers or fractions in lowest terms.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from fractions import Fraction

from equations.parser import parse
from training.generator import Pair

_LETTERS = sorted(set(string.ascii_lowercase) - set("eilo"))


def fractions() -> Callable[[], Pair]:
    """Sample one to three terms of each kind, of up to three digits, with a fraction as answer."""

    def sample() -> Pair:
        most = random.choice((9, 20, 99, 999))
        while True:
            sides = _sides(random.randint(1, 3), random.randint(1, 3), most)
            if (pair := _question(sides)) is not None and "/" in pair[1]:
                return pair

    return sample


def decimals() -> Callable[[], Pair]:
    """Sample decimal numbers of up to three places, with any answer."""

    def number() -> str:
        places = random.randint(0, 3)
        digits = random.randint(1, random.choice((99, 999, 9_999)))
        return f"{digits / 10**places:.{places}f}"

    def sample() -> Pair:
        while True:
            x = random.choice(_LETTERS)
            left = f"{number()}{x} {_sign()} {number()}"
            right = random.choice((number(), f"{number()}{x} {_sign()} {number()}"))
            if (pair := _solved(f"{left} = {right}", x)) is not None:
                return pair

    return sample


def large() -> Callable[[], Pair]:
    """Sample numbers of up to 12 digits, with a whole answer over 555."""

    def sample() -> Pair:
        solution = random.choice((-1, 1)) * random.randint(556, 10 ** random.randint(3, 8))
        room = 12 - len(str(abs(solution)))
        coefficient = random.randint(2, 10 ** random.randint(1, min(4, room)))
        constant = random.randint(0, 10 ** random.randint(1, 8))
        x = random.choice(_LETTERS)
        total = coefficient * solution + constant
        if random.random() < 0.5:
            return f"Solve {coefficient}*{x} + {constant} = {total} for {x}.", str(solution)
        moved = random.randint(1, 9_999)
        right = f"{coefficient + moved}*{x} {_plus(constant - moved * solution)}"
        question = f"Solve {2 * coefficient}*{x} {_plus(2 * constant - total)} = {right} for {x}."
        pair = _solved(question, x)
        return pair if pair is not None and abs(Fraction(pair[1])) > 555 else sample()

    return sample


def terms() -> Callable[[], Pair]:
    """Sample 6 to 16 terms of a kind, of up to four digits, with a whole answer."""

    def sample() -> Pair:
        many, few = random.randint(6, 16), random.randint(1, 16)
        counts = random.choice(((many, few), (few, many)))
        most = random.choice((9, 99, 999, 9_999))
        xs, ks = ([random.randint(-most, most) or 1 for _ in range(n)] for n in counts)
        xs[-1] += 1 if sum(xs) == 0 else 0
        solution = random.choice((-1, 1)) * random.randint(1, random.choice((9, 99, 555)))
        ks[-1] = -solution * sum(xs) - sum(ks[:-1])
        if not ks[-1] or not xs[-1]:
            return sample()
        pair = _question(_spread(xs, ks))
        return pair if pair is not None else sample()

    return sample


def textbook() -> Callable[[], Pair]:
    """Sample the forms of a school book: parentheses, fractional coefficients, whole answers."""

    def number() -> int:
        return random.randint(2, random.choice((9, 12, 20)))

    def sample() -> Pair:
        while True:
            x, a, b, c, d = random.choice(_LETTERS), *(number() for _ in range(4))
            text = random.choice(
                (
                    f"{a}({x} {_sign()} {b}) = {c * a}",
                    f"{a}({x} + {b}) - {c}({x} - {d}) = {number()}",
                    f"{a} - {b}({x} - {c}) = {d}{x}",
                    f"{a}({b}{x} - {c}) = {d}{x} + {number()}",
                    f"{x}/{a} + {b} = {c}",
                    f"({x} + {a})/{b} = {c}",
                    f"{a}/{b} {x} - {c} = {d}",
                    f"({x} - {a})/{b} = ({x} + {c})/{d}",
                    f"{x}/{a} + {x}/{b} = {c}",
                )
            )
            pair = _solved(text, x)
            if pair is not None and "/" not in pair[1]:
                return pair

    return sample


def _sides(coefficients: int, constants: int, most: int) -> tuple[list[str], list[str]]:
    xs = [random.choice((-1, 1)) * random.randint(1, most) for _ in range(coefficients)]
    ks = [random.choice((-1, 1)) * random.randint(1, most) for _ in range(constants)]
    return _spread(xs, ks)


def _spread(xs: list[int], ks: list[int]) -> tuple[list[str], list[str]]:
    """The terms of `sum(xs) x + sum(ks) = 0`, each on a random side, in random order."""
    left: list[str] = []
    right: list[str] = []
    for value, name in [*((value, "*?") for value in xs), *((value, "") for value in ks)]:
        if random.random() < 0.5:
            left.append(f"{_plus(value)}{name}")
        else:
            right.append(f"{_plus(-value)}{name}")
    random.shuffle(left)
    random.shuffle(right)
    return left, right


def _question(sides: tuple[list[str], list[str]]) -> Pair | None:
    x = random.choice(_LETTERS)
    left, right = (
        " ".join(side).removeprefix("+ ").replace("?", x) if side else "0" for side in sides
    )
    left, right = (f"-{side[2:]}" if side.startswith("- ") else side for side in (left, right))
    return _solved(f"Solve {left} = {right} for {x}.", x)


def _solved(text: str, variable: str) -> Pair | None:
    """The question with its answer; `None` where it has not exactly one."""
    solution = parse(text).solution()
    if solution is None:
        return None
    question = text if text.startswith("Solve ") else f"Solve {text} for {variable}."
    return question, str(solution)


def _plus(value: int) -> str:
    return f"{'-' if value < 0 else '+'} {abs(value)}"


def _sign() -> str:
    return random.choice("+-")
