"""Text to tokens. Bounds the length of the text and the digits of each number.

The signs people paste (a true minus, multiplication and division signs) become their ASCII forms.
Nothing here evaluates anything.
"""

from __future__ import annotations

import re
from enum import Enum
from fractions import Fraction
from string import ascii_letters
from typing import NamedTuple

from equations.errors import EquationError, Span
from equations.linear import Rational, whole

MAX_CHARACTERS = 500
MAX_DIGITS = 30  # of one number, before and after its decimal point together


class Kind(Enum):
    NUMBER = "a number"
    NAME = "a variable"
    SOLVE = "'Solve'"
    FOR = "'for'"
    PLUS = "'+'"
    MINUS = "'-'"
    TIMES = "'*'"
    DIVIDE = "'/'"
    POWER = "a power"
    OPEN = "'('"
    CLOSE = "')'"
    EQUALS = "'='"
    STOP = "a full stop"
    END = "the end"


class Token(NamedTuple):
    """One token and its place; `value` is the number, for `Kind.NUMBER` alone."""

    kind: Kind
    text: str
    start: int
    value: Rational | None = None

    @property
    def span(self) -> Span:
        return Span(self.start, self.start + len(self.text))


_SYMBOLS = {
    "**": Kind.POWER,
    **dict.fromkeys("+\uff0b", Kind.PLUS),
    **dict.fromkeys("-\u2212\u2013\u2010\ufe63\uff0d", Kind.MINUS),
    **dict.fromkeys("*\u00d7\u00b7\u22c5\u2219\u2217", Kind.TIMES),
    **dict.fromkeys("/\u00f7\u2215\u2044", Kind.DIVIDE),
    **dict.fromkeys("=\uff1d", Kind.EQUALS),
    **dict.fromkeys(".?", Kind.STOP),
    "^": Kind.POWER,
    "(": Kind.OPEN,
    ")": Kind.CLOSE,
}
_WORDS = {"solve": Kind.SOLVE, "for": Kind.FOR}
_KINDS = {
    **_SYMBOLS, **dict.fromkeys(ascii_letters, Kind.NAME), "Solve": Kind.SOLVE, "for": Kind.FOR,
}  # fmt: skip
_SPACE = "[ \t\r\n\u00a0\u2009\u202f]*"
_TOKEN = re.compile(
    _SPACE + r"(?:([0-9]+(?:\.[0-9]+)?)"
    r"|([A-Za-z]+|" + "|".join(map(re.escape, _SYMBOLS)) + ")"  # "**" comes before "*"
    r"|\Z)"
)
_BEGINNING = re.compile(_SPACE)


def tokenize(source: str) -> list[Token]:
    """Tokens of `source`, closed by one of `Kind.END`.

    Raises `EquationError` for text that is too long, a number with too many digits, a word that is
    neither `Solve`, `for` nor a one-letter variable, and any other character.
    """
    if len(source) > MAX_CHARACTERS:
        raise EquationError(
            f"the text has {len(source)} characters",
            source=source,
            span=Span(MAX_CHARACTERS, len(source)),
            expected=f"at most {MAX_CHARACTERS}",
        )
    tokens: list[Token] = []
    position = 0
    while (match := _TOKEN.match(source, position)) is not None:
        number, other = match.groups()
        position = match.end()
        if other:
            start = position - len(other)
            tokens.append(Token(_KINDS.get(other) or _word(source, other, start), other, start))
        elif number:
            start = position - len(number)
            tokens.append(Token(Kind.NUMBER, number, start, _number(source, number, start)))
        else:
            tokens.append(Token(Kind.END, "", len(source)))
            return tokens
    raise _unexpected_character(source, position)


def _number(source: str, text: str, start: int) -> Rational:
    decimal = "." in text
    digits = len(text) - decimal
    if digits > MAX_DIGITS:
        raise EquationError(
            f"a number of {digits} digits",
            source=source,
            span=Span(start, start + len(text)),
            expected=f"at most {MAX_DIGITS}",
        )
    return whole(Fraction(text)) if decimal else int(text)


def _word(source: str, text: str, start: int) -> Kind:
    if (kind := _WORDS.get(text.lower())) is not None:
        return kind
    raise EquationError(
        f"unexpected word {text[:20]!r}",
        source=source,
        span=Span(start, start + len(text)),
        expected="a variable of one letter",
    )


def _unexpected_character(source: str, position: int) -> EquationError:
    """The one behind the space at `position`."""
    beginning = _BEGINNING.match(source, position)
    assert beginning is not None, "space may be empty: this is a bug"
    at = beginning.end()
    return EquationError(
        f"unexpected character U+{ord(source[at]):04X}",
        source=source,
        span=Span(at, at + 1),
        expected="digits, a variable, + - * / ( ) or =",
    )
