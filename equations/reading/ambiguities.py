"""Operands side by side that have two readings: each check refuses one kind, in words.

The readings that are taken all the same, since only one of the two is linear, are listed in
docs/questions.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from equations.errors import EquationError, Span
from equations.polynomial import constant_of
from equations.reading import refusals, words
from equations.reading.arithmetic import Operand
from equations.reading.tokens import BEGINS_OPERAND, ENDS_OPERAND, SIGNS, Form, Kind, Token, between


def check_factor(source: str, tokens: Sequence[Token], position: int) -> None:
    """Refuse an operand at `position` that may be no factor of the one before it."""
    before, token = tokens[position - 1], tokens[position]
    if token.kind is Kind.NUMBER and (before.kind is not Kind.CLOSE or token.spaced):
        _refuse_number(source, before, token)
    if before.kind is Kind.NAME:
        _check_behind_name(source, tokens, position)
    if before.kind in (Kind.NAME, Kind.CLOSE) and token.kind is Kind.NAME and _is_word(token):
        raise refusals.unknown_word(token.text).at(source, token.span)


def _refuse_number(source: str, before: Token, token: Token) -> NoReturn:
    if before.kind is Kind.NAME and _is_word(before):
        raise refusals.unknown_word(before.text).at(source, before.span)
    if before.kind is Kind.NAME:
        found = f"{before.text!r} before a number: a variable, or a multiplication sign"
        _fail(source, found, between(before, token), "* for a product")
    found = f"unexpected {token.text!r}"
    expected = "an operator or '='"
    if before.kind is Kind.NUMBER:
        expected += ", or no space between them"
        found = f"two numbers side by side, {before.text!r} and {token.text!r}"
    _fail(source, found, token.span, expected)


def _check_behind_name(source: str, tokens: Sequence[Token], position: int) -> None:
    """Refuse a word that is no variable, and what may be a function: `f(x)`, `price(2)`."""
    name, token = tokens[position - 1 : position + 1]
    glued = token.kind is Kind.OPEN and not token.spaced
    if _is_word(name):
        refusal = refusals.unknown_word(name.text)
        if glued:
            refusal = refusals.Refusal(f"a function {name.text[:20]!r}", "* for a product")
        raise refusal.at(source, name.span)
    if not glued:
        return
    inside, closed = tokens[position + 1], tokens[min(position + 2, len(tokens) - 1)]
    if inside.kind is Kind.NAME and closed.kind is Kind.CLOSE and inside.text != name.text:
        found = f"'{name.text}({inside.text})' is a function or a product"
        _fail(source, found, between(name, closed), f"{name.text}*{inside.text} for a product")


def _is_word(name: Token) -> bool:
    """Return whether a variable's name could be a word of a sentence."""
    letters = name.text.rstrip("'0123456789")
    return len(letters) > 1 and "_" not in letters and letters.lower() not in words.GREEK


def check_name(source: str, tokens: Sequence[Token], position: int) -> None:
    """Refuse `xy`, one name or a product, and `2x3`: a product, a power or an index?"""
    token = tokens[position]
    letters = token.text.rstrip("'0123456789")
    if _is_word(token) and words.is_ambiguous(letters):
        raise refusals.letters(letters).at(source, token.span)
    if not position or token.spaced or tokens[position - 1].kind is not Kind.NUMBER:
        return
    before = tokens[position - 1]
    letter, index = source[token.start], source[token.start + 1 : token.end]
    if index.isascii() and index.isdigit():
        found = f"{before.text + letter + index!r} is a product, a power or has an index"
        factor = f"{before.text}*{letter}"
        expected = f"{factor}*{index}, {factor}^{index} or {factor}_{index}"
        _fail(source, found, between(before, token), expected)


def check_exponent(source: str, exponent: Token, after: Token) -> None:
    """Refuse `2^3x`: is the x part of the exponent?"""
    if after.kind is Kind.NAME and not after.spaced:
        found = f"'{exponent.text}{after.text}' behind '^' is the exponent, or a product"
        expected = f"^{exponent.text}*{after.text} for a product"
        _fail(source, found, between(exponent, after), expected)


def check_percent(source: str, first: Token, percent: Token, after: Token) -> None:
    """Refuse `x + 10%`: of what?"""
    if after.kind is not Kind.TIMES and after.kind not in BEGINS_OPERAND:
        found = "a percentage that multiplies nothing"
        _fail(source, found, between(first, percent), "10% * x, or a number such as 0.1")


def check_behind_quotient(source: str, place: Span, quotient: Operand, operand: Operand) -> None:
    """Refuse `8/2(2 + 2)`. `1/2x` is a half of x: as 1 over 2x it would not be linear."""
    if operand.name is None or constant_of(quotient.polynomial) is None:
        found = "a factor behind a quotient, which multiplies the quotient or its divisor"
        _fail(source, found, place, "* or / and brackets")


def check_chain(source: str, tokens: Sequence[Token]) -> None:
    """Refuse `x = 3 y = 4`: two equations without a separator, or equal sums with a product."""
    equals = [i for i, token in enumerate(tokens) if token.kind is Kind.EQUALS]
    inner = tokens[equals[0] : equals[-1]]
    for before, token, after in zip(inner, inner[1:], tokens[equals[0] + 2 :], strict=False):
        factor = token.kind in BEGINS_OPERAND
        signed = token.kind in SIGNS and not after.spaced
        apart = before.kind in ENDS_OPERAND and token.spaced and (factor or signed)
        stop = before.form is Form.DECIMAL and token.kind is Kind.NAME  # `2x = 8.3y = 9`
        if apart or stop:
            found = "two equations without a separator, or a sum between two '='"
            _fail(
                source, found, between(before, after), "';' between equations, or * for a product"
            )


def _fail(source: str, message: str, span: Span, expected: str) -> NoReturn:
    raise EquationError(message, source=source, span=span, expected=expected)
