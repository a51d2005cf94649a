r"""Mixed numbers: `2 1/2`, `3\\frac{1}{2}` and `3 ½` are one number each.

A whole number glued to a fraction in brackets, `2(1/2)`, is as likely a product: it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from equations.errors import EquationError
from equations.reading.tokens import Form, Kind, Token, between

_PLAIN = [Kind.NUMBER, Kind.NUMBER, Kind.DIVIDE, Kind.NUMBER]
_BRACKETS = [Kind.NUMBER, Kind.OPEN, Kind.NUMBER, Kind.DIVIDE, Kind.NUMBER, Kind.CLOSE]
_FOLLOWS = frozenset({Kind.NUMBER, Kind.OPEN, Kind.FRACTION})
_LATEX = [
    *(Kind.NUMBER, Kind.FRACTION),
    *(Kind.OPEN, Kind.NUMBER, Kind.CLOSE),
    *(Kind.OPEN, Kind.NUMBER, Kind.CLOSE),
]


def merged(source: str, tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens with each mixed number as one. Raises `EquationError`."""
    result: list[Token] = []
    index = 0
    while index < len(tokens):
        token, length = tokens[index], 0
        if token.form is Form.WORD:
            _refuse_hyphen(source, tokens[index : index + 3])
        if token.kind is Kind.NUMBER and tokens[index + 1].kind in _FOLLOWS:
            here = tokens[index : index + len(_LATEX)]
            if token.form is Form.PLAIN:
                _refuse_two_readings(source, here)
                length = _length(here)
        if length:
            fraction = _fraction(here[1:length])
            assert fraction is not None, "what has a length is a fraction: this is a bug"
            whole = here[0].value or 0
            text = source[here[0].start : here[length - 1].end]
            number = here[0]._replace(
                text=text, end=here[length - 1].end, value=whole + fraction, form=Form.FRACTION
            )
            result.append(number)
            index += length
        else:
            result.append(token)
            index += 1
    return result


def _length(tokens: Sequence[Token]) -> int:
    """Return how many tokens from the first are a mixed number; 0 where they are none."""
    kinds = [token.kind for token in tokens]
    if kinds[:2] == _PLAIN[:2] and tokens[1].form is Form.FRACTION and tokens[1].spaced:
        length = 2
    elif kinds[:4] == _PLAIN and not (tokens[2].spaced or tokens[3].spaced):
        length = 4
    elif kinds == _LATEX:
        length = len(_LATEX)
    else:
        return 0
    return length if _fraction(tokens[1:length]) is not None else 0


def _fraction(tokens: Sequence[Token]) -> Fraction | None:
    """Return the proper fraction that tokens make, of whole numbers; `None` for any other."""
    numbers = [token for token in tokens if token.kind is Kind.NUMBER]
    if len(numbers) == 1:
        value = Fraction(numbers[0].value or 0)
    else:
        numerator, denominator = (number.value or 0 for number in numbers)
        if any(number.form is not Form.PLAIN for number in numbers) or not denominator:
            return None
        value = Fraction(numerator) / Fraction(denominator)
    return value if 0 < value < 1 else None


def _refuse_hyphen(source: str, tokens: Sequence[Token]) -> None:
    """Refuse `one-half`: a fraction in words, or a difference."""
    words = [token.form for token in tokens[::2]] == [Form.WORD, Form.WORD]
    spaced = any(token.spaced for token in tokens[1:])
    if tokens[1].kind is Kind.MINUS and len(tokens) == 3 and words and not spaced:
        raise EquationError(
            "a number in words, or a difference",
            source=source,
            span=between(tokens[0], tokens[2]),
            expected="digits, or spaces around the minus sign",
        )


def _refuse_two_readings(source: str, tokens: Sequence[Token]) -> None:
    kinds = [token.kind for token in tokens[: len(_BRACKETS)]]
    if kinds == _BRACKETS and not tokens[1].spaced and _fraction(tokens[2:5]) is not None:
        whole, numerator, denominator = (tokens[index].text for index in (0, 2, 4))
        raise EquationError(
            "a mixed number or a product",
            source=source,
            span=between(tokens[0], tokens[len(_BRACKETS) - 1]),
            expected=f"{whole} {numerator}/{denominator} or {whole}*({numerator}/{denominator})",
        )
