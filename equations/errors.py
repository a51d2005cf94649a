"""Errors that say what is wrong with a text, where, and what was expected instead."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

_CONTEXT = 30  # characters drawn on either side of the fault
_UNDRAWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # general categories


class Span(NamedTuple):
    """Half-open range `[start, end)` of characters in a source text."""

    start: int
    end: int


class EquationError(ValueError):
    """A text that `equations.reading` does not understand, or that has two readings.

    `message` says what was found, `expected` what would have been right there, `span` where, in
    Unicode code points. `str(error)` draws that part of the text with carets.
    """

    def __init__(self, message: str, *, source: str, span: Span, expected: str) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.span = span
        self.expected = expected

    def __str__(self) -> str:
        where = f"{self.message} at character {self.span.start + 1}; expected {self.expected}"
        return f"{where}\n{self.drawing()}"

    def drawing(self) -> str:
        """Return the text around the fault with carets under it, in two lines.

        Characters that would move the carets (control characters, right-to-left marks) are drawn
        as `?`, and no more than a line's worth of a long text is drawn.
        """
        left = max(0, self.span.start - _CONTEXT)
        right = min(len(self.source), self.span.start + _CONTEXT)
        carets = max(1, min(self.span.end, right) - self.span.start)
        head, tail = ("..." if left else ""), ("..." if right < len(self.source) else "")
        text = "".join(map(_drawable, self.source[left:right]))
        return f"  {head}{text}{tail}\n  {' ' * (len(head) + self.span.start - left)}{'^' * carets}"


class NotLinear(EquationError):
    """An equation that is well formed but not linear: `x*x = 4`, `1/x = 2`, `x^2 = 4`."""


def _drawable(character: str) -> str:
    if unicodedata.category(character) in _UNDRAWABLE or unicodedata.combining(character):
        return "?"
    return character
