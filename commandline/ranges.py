"""Types of arguments that are numbers within a range, for `add_argument(type=...)`.

Each raises `argparse.ArgumentTypeError` with the text that was given and what was expected.
"""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable


def integer(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers from `least` to `most`."""
    expected = f"a whole number of at least {least}"
    expected += f" and at most {most}" if most is not None else ""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r}; expected {expected}") from error
        if value < least or (most is not None and value > most):
            raise ArgumentTypeError(f"{text!r}; expected {expected}")
        return value

    return read


def number(most: float = math.inf, *, or_zero: bool = False) -> Callable[[str], float]:
    """Return a reader of finite numbers over zero, or from zero on, to `most`."""
    expected = "a number of at least 0" if or_zero else "a number over 0"
    expected += f" and at most {most:g}" if math.isfinite(most) else ""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError as error:
            raise ArgumentTypeError(f"{text!r}; expected {expected}") from error
        if not (0 <= value <= most and math.isfinite(value)) or (value == 0 and not or_zero):
            raise ArgumentTypeError(f"{text!r}; expected {expected}")
        return value

    return read


def several(one: Callable[[str], float]) -> Callable[[str], list[float]]:
    """Return a reader of numbers with commas between them, each read by `one`."""

    def read(text: str) -> list[float]:
        return [one(part) for part in text.split(",")]

    return read


COUNT = integer(1)
COUNT_OR_NONE = integer(0)
SEED = integer(0, 2**32 - 1)
POSITIVE = number()
SHARE = number(most=1.0)
