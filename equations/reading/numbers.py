"""Numbers as people write them: `1.5`, `0,5`, `1'000`, `1.234,5`, `2e3`, `0x1F`, `0.333...`, `3½`.

A point alone is the decimal point. A comma alone is a decimal comma unless three digits follow one
to three others (`1,000`), which could be thousands. Where both stand, the last is the decimal one.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from equations.limits import MAX_DIGITS
from equations.linear import Rational, whole
from equations.reading.refusals import Refusal
from equations.reading.tokens import Form

VULGAR = "\u00bc-\u00be\u2150-\u215e\u2189"
PATTERN = (
    r"0[xX](?=[0-9A-Fa-f]{2})(?=[0-9]*[A-Fa-f])[0-9A-Fa-f]+(?![A-Za-z0-9])"
    rf"|[0-9]+[{VULGAR}]"
    r"|[0-9]*[.,][0-9]+(?:\.\.\.|\u2026)"
    r"|(?:[0-9]+(?:(?:[',.\u202f]|\{,\})[0-9]+)*|\.[0-9]+)"
    r"(?:[eE][+-]?[0-9]+(?![A-Za-z0-9.])|\.(?=[A-Za-z](?![A-Za-z])))?"
    rf"|[{VULGAR}]"
)
_SEPARATOR = re.compile(r"[',.\u202f]")
_EXPONENT = re.compile(r"([^eE]+)[eE]([+-]?[0-9]+)")
_DIGITS = re.compile(r"[0-9]")


class BadNumber(ValueError):
    """A text of digits that is no number, or two; `refusal` says so."""

    def __init__(self, message: str, expected: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(message, expected)


def read(text: str) -> tuple[Rational, Form]:
    """Return the number that a text of `PATTERN` stands for, and its form. Raises `BadNumber`."""
    if text.isascii() and text.isdigit():
        _bound(text)
        return int(text), Form.PLAIN
    text = text.replace("{,}", ",")  # LaTeX
    if text[:2] in ("0x", "0X"):
        _bound(text)
        return int(text, 16), Form.PLAIN
    if not text[-1].isascii() and (fraction := _vulgar(text[-1])) is not None:
        _bound(text)
        return int(text[:-1] or 0) + fraction, Form.FRACTION
    for ellipsis in ("...", "\u2026"):
        if text.endswith(ellipsis):
            return _repeating(text.removesuffix(ellipsis)), Form.DECIMAL
    if (match := _EXPONENT.fullmatch(text)) is not None:
        return _scientific(*match.groups()), Form.SCIENTIFIC
    return _separated(text.removesuffix("."))


def _bound(text: str) -> None:
    digits = len(_DIGITS.findall(text))
    if digits > MAX_DIGITS:
        raise BadNumber(f"a number of {digits} digits", f"at most {MAX_DIGITS}")


def _vulgar(character: str) -> Fraction | None:
    """Return `1/2` for `½`; unlike its numeric value, a third is exact."""
    numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("\u2044")
    return Fraction(int(numerator), int(denominator)) if denominator else None


def _scientific(mantissa: str, exponent: str) -> Rational:
    if len(exponent) > len("+99") or abs(int(exponent)) > MAX_DIGITS:
        raise BadNumber("an exponent too large", f"an exponent of at most {MAX_DIGITS}")
    value, form = _separated(mantissa)
    if form is Form.DECIMAL_COMMA:
        raise BadNumber("a decimal comma with an exponent", "a decimal point")
    return whole(Fraction(value) * Fraction(10) ** int(exponent))


def _separated(text: str) -> tuple[Rational, Form]:
    """Return a number with decimal or thousands separators."""
    _bound(text)
    separators = _SEPARATOR.findall(text)
    if not separators:
        return int(text), Form.PLAIN
    if separators == ["."]:
        return whole(Fraction(text)), Form.DECIMAL
    groups = _SEPARATOR.split(text)
    last = separators[-1]
    if len(separators) == 1 and last == ",":
        if _are_thousands(groups) and not groups[0].startswith("0"):
            raise BadNumber(
                f"the comma of {text!r} is a decimal comma or a thousands separator",
                f"{groups[0]}.{groups[1]} or {''.join(groups)}",
            )
        return whole(Fraction(f"{groups[0]}.{groups[1]}")), Form.DECIMAL_COMMA
    if len(set(separators)) == 1 and _are_thousands(groups):
        return int("".join(groups)), Form.PLAIN
    if len(set(separators[:-1])) == 1 and last in ".," and last not in separators[:-1]:
        *thousands, decimals = groups
        if _are_thousands(thousands):
            form = Form.DECIMAL if last == "." else Form.DECIMAL_COMMA
            return whole(Fraction(f"{''.join(thousands)}.{decimals}")), form
    raise BadNumber(f"{text[:20]!r} is not one number", "a number such as 1234.5")


def _are_thousands(groups: list[str]) -> bool:
    first, *others = groups
    return 1 <= len(first) <= 3 and bool(others) and all(len(group) == 3 for group in others)


def _repeating(text: str) -> Rational:
    """Return the number whose last digits repeat without end: `0.1666` is 1/6."""
    _bound(text)
    start, point, digits = text.replace(",", ".").partition(".")
    values: set[Rational] = set()
    for length in range(1, len(digits) // 2 + 1):
        period = digits[-length:]
        if digits[-2 * length : -length] == period and period.strip("0"):
            head = digits[:-length]
            repeated = Fraction(int(period), (10**length - 1) * 10 ** len(head))
            values.add(whole(Fraction(f"{start or 0}.{head or 0}") + repeated))
    if not point or len(values) != 1:
        raise BadNumber(
            f"{text[:20]!r} with '...' does not show which digits repeat", "a fraction such as 1/3"
        )
    return values.pop()
