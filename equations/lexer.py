"""Text to tokens. Bounds the length of the text and the digits of each number.

The signs people paste (a true minus, multiplication and division signs) become their ASCII forms.
Nothing here evaluates anything.
"""

from __future__ import annotations

import re
from enum import Enum
from fractions import Fraction
from typing import NamedTuple

from equations.errors import EquationError, Span

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
    span: Span
    value: Fraction | None = None


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
_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n\u00a0\u2009\u202f]+)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<symbol>" + "|".join(map(re.escape, _SYMBOLS)) + ")"  # "**" comes before "*"
)


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
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise EquationError(
                f"unexpected character U+{ord(source[position]):04X}",
                source=source,
                span=Span(position, position + 1),
                expected="digits, a variable, + - * / ( ) or =",
            )
        position = match.end()
        if match.lastgroup != "space":
            tokens.append(_token(source, match))
    tokens.append(Token(Kind.END, "", Span(len(source), len(source))))
    return tokens


def _token(source: str, match: re.Match[str]) -> Token:
    text, span = match.group(), Span(match.start(), match.end())
    if match.lastgroup == "number":
        decimal = "." in text
        digits = len(text) - decimal
        if digits > MAX_DIGITS:
            raise EquationError(
                f"a number of {digits} digits",
                source=source,
                span=span,
                expected=f"at most {MAX_DIGITS}",
            )
        return Token(Kind.NUMBER, text, span, Fraction(text if decimal else int(text)))
    if match.lastgroup == "symbol":
        return Token(_SYMBOLS[text], text, span)
    if len(text) == 1:
        return Token(Kind.NAME, text, span)
    if text.lower() in _WORDS:
        return Token(_WORDS[text.lower()], text, span)
    raise EquationError(
        f"unexpected word {text[:20]!r}",
        source=source,
        span=span,
        expected="a variable of one letter",
    )
