"""Bullets, exercise labels and marks around an equation, told from factors.

`(2) x + 3 = 7` and `3x = 12 (2)` have a label, `(2)(x) = 8` and `3x = 12(2)` a factor. What may be
either is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn

from equations.errors import EquationError
from equations.reading import words
from equations.reading.tokens import (
    BEGINS_OPERAND,
    ENDS_OPERAND,
    SIGNS,
    Form,
    Kind,
    Token,
    between,
)

_LINE_STARTS = (None, Kind.NEWLINE, Kind.WORD, Kind.HASH, Kind.COLON)
_MARKS = [Kind.OPEN, Kind.NUMBER, Kind.NAME, Kind.CLOSE]
_STARS = ([Kind.OPEN, Kind.TIMES, Kind.CLOSE], [Kind.OPEN, Kind.POWER, Kind.CLOSE])
_TEXT = (Kind.NUMBER, Kind.NAME)
_CALCULATES = frozenset({Kind.NAME, Kind.PLUS, Kind.MINUS, Kind.TIMES, Kind.POWER})
_LABELS = re.compile(rf"(?i:{words.LABELS.pattern})|I{{1,3}}|IV|VI{{0,3}}")
_ROMAN = re.compile("[ivx]+|[IVX]+")
_LABEL_LETTERS = frozenset("abcdefghiv")  # lists are counted with these


@dataclass
class Piece:
    """Tokens between two separators; `opener` is the one before, `closer` the one behind.

    `closes_apart` says that the closer is glued to the piece and apart from what follows.
    """

    opener: Kind | None
    tokens: list[Token] = field(default_factory=list)
    closer: Kind = Kind.END
    closes_apart: bool = False

    @property
    def has_equals(self) -> bool:
        return any(token.kind is Kind.EQUALS for token in self.tokens)

    @property
    def lone_name(self) -> Token | None:
        """Return the variable that is all of this piece, or that it leaves open: `x = ?`."""
        kinds = [token.kind for token in self.tokens]
        if kinds in ([Kind.NAME], [Kind.NAME, Kind.EQUALS, Kind.BLANK]):
            return self.tokens[0]
        if kinds == [Kind.BLANK, Kind.EQUALS, Kind.NAME]:
            return self.tokens[2]
        return None


def without(source: str, piece: Piece) -> list[Token]:
    """Return a piece's tokens without what labels it. Raises `EquationError`."""
    kept, opener = piece.tokens, piece.opener
    if opener in _LINE_STARTS:
        kept = _without_bullet(source, kept)
        kept = kept[1:] if opener is Kind.HASH and _is_hash_label(kept) else kept
    kept = _without_first_label(source, kept)
    kept = _without_last_label(kept)
    if any(token.kind is Kind.CLOSE for token in kept):
        _refuse_brackets_apart(source, kept)
        _refuse_last_number(source, kept)
    _refuse_last_name(source, kept)
    return kept


def is_label(piece: Piece) -> bool:
    """Return whether a whole piece is a label: the `3` of `Question 3: 2x = 8`, `(2)`, `a.`"""
    tokens, closer = piece.tokens, piece.closer
    if closer in (Kind.STOP, Kind.COLON) and not piece.closes_apart:
        return False  # `3 . x` multiplies, perhaps
    if [token.kind for token in tokens[::2]] == [Kind.OPEN, Kind.CLOSE] and len(tokens) == 3:
        return _is_bare(tokens[1])
    return len(tokens) == 1 and piece.opener in _LINE_STARTS and _counts(piece, tokens[0])


def _counts(piece: Piece, token: Token) -> bool:
    """Return whether one token in a piece of its own numbers what follows, or counts it."""
    if piece.closer is Kind.WORD:
        return token.form is Form.WORD  # `the two equations`
    if piece.closer not in (Kind.STOP, Kind.COLON):
        return False
    if token.kind is Kind.NUMBER:
        return token.form in (Form.PLAIN, Form.DECIMAL)
    lists = piece.closer is Kind.STOP and piece.opener in (None, Kind.NEWLINE)
    listed = lists and token.text in _LABEL_LETTERS
    return listed or _LABELS.fullmatch(token.text) is not None


def without_marks(tokens: Sequence[Token]) -> list[Token]:
    """Drop `(2 marks)`, what an exercise is worth, and the label `(*)`."""
    result: list[Token] = []
    for token in tokens:
        result.append(token)
        if token.kind is not Kind.CLOSE:
            continue
        kinds = [each.kind for each in result[-4:]]
        if kinds[-3:] in _STARS:
            del result[-3:]
        elif kinds == _MARKS and words.MARKS.fullmatch(result[-2].text):
            del result[-4:]
    return result


def _is_hash_label(tokens: list[Token]) -> bool:
    number = len(tokens) > 1 and tokens[0].kind is Kind.NUMBER
    return number and tokens[1].spaced and not tokens[0].spaced


def _without_bullet(source: str, tokens: list[Token]) -> list[Token]:
    first, second = (*tokens, None, None)[:2]
    if first is None or second is None:
        return tokens
    if first.kind is Kind.TIMES:
        return tokens[1:]
    if first.kind is Kind.MINUS and second.spaced and not first.text.isalpha():
        _fail(source, "a dash that is a bullet or a minus sign", first, first, "-x without a space")
    glued = first.kind is Kind.NUMBER and second.kind is Kind.MINUS and not second.spaced
    if glued and len(tokens) > 2 and tokens[2].spaced:
        expected = f"{first.text} - ... for a difference"
        _fail(source, "a label or a number, and a dash", first, second, expected)
    return tokens


def _without_first_label(source: str, tokens: list[Token]) -> list[Token]:
    """Drop `(2)`, `[a]`, `2)` and `a)` before a question."""
    kinds = [token.kind for token in tokens[:4]]
    if len(kinds) > 2 and kinds[0] in _TEXT and tokens[1].text == ")" and not tokens[1].spaced:
        return tokens[2:]
    if len(kinds) < 4 or kinds[0] is not Kind.OPEN or kinds[2] is not Kind.CLOSE:
        return tokens
    after = tokens[3]
    if not _is_bare(tokens[1]) or not after.spaced:
        return tokens
    if after.kind in SIGNS and len(tokens) > 4 and not tokens[4].spaced:
        expected = "spaces on both sides of the sign, or none"
        _fail(source, "a label or a number in brackets, and a sign", tokens[0], after, expected)
    if after.kind not in BEGINS_OPERAND:
        return tokens
    if tokens[1].form is Form.DECIMAL:
        found = "a label or a factor in brackets"
        _fail(source, found, tokens[0], tokens[2], "* behind a factor")
    return tokens[3:]


def _without_last_label(tokens: list[Token]) -> list[Token]:
    """Drop `(2)` and `[x]` that stand apart behind an equation."""
    if len(tokens) < 5 or not any(token.kind is Kind.EQUALS for token in tokens[:-3]):
        return tokens
    before, opened, text, closed = tokens[-4:]
    bracketed = opened.kind is Kind.OPEN and closed.kind is Kind.CLOSE and opened.spaced
    if bracketed and _is_bare(text) and before.kind in ENDS_OPERAND:
        return tokens if text.form is Form.DECIMAL else tokens[:-3]
    return tokens


def _refuse_brackets_apart(source: str, tokens: list[Token]) -> None:
    """Refuse `x (4) = 24`: a factor, or a label that ended up inside."""
    for before, opened, text, closed in zip(
        tokens, tokens[1:], tokens[2:], tokens[3:], strict=False
    ):
        bracketed = opened.kind is Kind.OPEN and closed.kind is Kind.CLOSE
        if bracketed and opened.spaced and _is_bare(text) and before.kind in ENDS_OPERAND:
            found = f"'({text.text})' stands apart: a factor or a label"
            _fail(source, found, opened, closed, "* before a factor")


def _refuse_last_number(source: str, tokens: list[Token]) -> None:
    """Refuse `3x = 12 (2/3)`: a number in brackets behind an equation may be a label."""
    if tokens[-1].kind is not Kind.CLOSE:
        return
    start = next((i for i in reversed(range(len(tokens))) if tokens[i].kind is Kind.OPEN), 0)
    opened, before = tokens[start], tokens[start - 1]
    calculates = any(token.kind in _CALCULATES for token in tokens[start + 2 :])
    if start and opened.spaced and before.kind in ENDS_OPERAND and not calculates:
        text = source[opened.start : tokens[-1].end]
        found = f"{text[:20]!r} stands apart: a factor or a label"
        _fail(source, found, opened, tokens[-1], "* before a factor")


def _refuse_last_name(source: str, tokens: list[Token]) -> None:
    """Refuse `2x + 3 = 7 x`: `7x`, or the variable that is asked for."""
    if len(tokens) < 2 or tokens[-1].kind is not Kind.NAME or not tokens[-1].spaced:
        return
    number, name = tokens[-2:]
    if number.kind is not Kind.NUMBER or len(name.text) > 1:
        return
    elsewhere = any(token.text == name.text for token in tokens[:-1])
    products = pairwise(tokens[:-1])
    habit = any(a.kind is Kind.NUMBER and b.kind is Kind.NAME and b.spaced for a, b in products)
    if elsewhere and not habit:
        found = f"'{number.text} {name.text}' is a product, or the variable asked for"
        _fail(source, found, number, name, "* for a product, 'for' before a variable")


def _is_bare(token: Token) -> bool:
    """Return whether this is all that a label has: a number, one letter, `iv`."""
    if token.kind is Kind.NUMBER:
        return token.form in (Form.PLAIN, Form.DECIMAL)
    letter = len(token.text) == 1 or _ROMAN.fullmatch(token.text) is not None
    return token.kind is Kind.NAME and letter


def _fail(source: str, message: str, first: Token, last: Token, expected: str) -> NoReturn:
    raise EquationError(message, source=source, span=between(first, last), expected=expected)
