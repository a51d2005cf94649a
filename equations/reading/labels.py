"""Bullets, exercise labels and marks around an equation, told from factors.

`(2) x + 3 = 7` and `3x = 12 (2)` have a label, `(2)(x) = 8` and `3x = 12(2)` a factor. What may be
either is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
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
_TEXT = (Kind.NUMBER, Kind.NAME)
_LABEL_LETTERS = frozenset("abcdefghiv")  # lists are counted with these


def without(source: str, opener: Kind | None, tokens: list[Token]) -> list[Token]:
    """Return a piece's tokens without what labels it. Raises `EquationError`."""
    kept = tokens
    if opener in _LINE_STARTS:
        kept = _without_bullet(source, kept)
        kept = kept[1:] if opener is Kind.HASH and _is_hash_label(kept) else kept
    kept = _without_first_label(source, kept)
    kept = _without_last_label(kept)
    _refuse_brackets_apart(source, kept)
    return kept


def is_label(opener: Kind | None, tokens: list[Token], closer: Kind) -> bool:
    """Return whether a whole piece is a label: the `3` of `Question 3: 2x = 8`, `(2)`, `a.`."""
    if [token.kind for token in tokens[::2]] == [Kind.OPEN, Kind.CLOSE] and len(tokens) == 3:
        return _is_bare(tokens[1])
    if len(tokens) != 1 or opener not in _LINE_STARTS or closer not in (Kind.STOP, Kind.COLON):
        return False
    token = tokens[0]
    if token.kind is Kind.NUMBER:
        return token.form is Form.PLAIN
    if words.LABELS.fullmatch(token.text):
        return True
    begins = opener is None or opener is Kind.NEWLINE
    return begins and closer is Kind.STOP and token.text in _LABEL_LETTERS


def without_marks(tokens: Sequence[Token]) -> list[Token]:
    """Drop `(2 marks)`, what an exercise is worth."""
    result: list[Token] = []
    for token in tokens:
        result.append(token)
        kinds = [each.kind for each in result[-4:]]
        if kinds == _MARKS and words.MARKS.fullmatch(result[-2].text):
            del result[-4:]
    return result


def _is_hash_label(tokens: list[Token]) -> bool:
    return len(tokens) > 1 and tokens[0].kind is Kind.NUMBER and tokens[1].spaced


def _without_bullet(source: str, tokens: list[Token]) -> list[Token]:
    first, second = (*tokens, None, None)[:2]
    if first is None or second is None:
        return tokens
    if first.kind is Kind.TIMES:
        return tokens[1:]
    if first.kind is Kind.MINUS and second.spaced:
        _fail(source, "a dash that is a bullet or a minus sign", first, first, "-x without a space")
    glued = first.kind is Kind.NUMBER and second.kind is Kind.MINUS and not second.spaced
    if glued and len(tokens) > 2 and tokens[2].spaced:
        expected = f"{first.text} - ... for a difference"
        _fail(source, "a label or a number, and a dash", first, second, expected)
    return tokens


def _without_first_label(source: str, tokens: list[Token]) -> list[Token]:
    """Drop `(2)`, `[a]`, `2)` and `a)` before a question."""
    kinds = [token.kind for token in tokens[:4]]
    if len(kinds) > 2 and kinds[0] in _TEXT and kinds[1] is Kind.CLOSE and not tokens[1].spaced:
        return tokens[2:]
    if len(kinds) < 4 or kinds[0] is not Kind.OPEN or kinds[2] is not Kind.CLOSE:
        return tokens
    after = tokens[3]
    if not _is_bare(tokens[1]) or not after.spaced:
        return tokens
    if after.kind in SIGNS and len(tokens) > 4 and not tokens[4].spaced:
        expected = "spaces on both sides of the sign, or none"
        _fail(source, "a label or a number in brackets, and a sign", tokens[0], after, expected)
    return tokens[3:] if after.kind in BEGINS_OPERAND else tokens


def _without_last_label(tokens: list[Token]) -> list[Token]:
    """Drop `(2)` and `[x]` that stand apart behind an equation."""
    if len(tokens) < 5 or not any(token.kind is Kind.EQUALS for token in tokens[:-3]):
        return tokens
    before, opened, text, closed = tokens[-4:]
    bracketed = opened.kind is Kind.OPEN and closed.kind is Kind.CLOSE
    if bracketed and opened.spaced and _is_bare(text) and before.kind in ENDS_OPERAND:
        return tokens[:-3]
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


def _is_bare(token: Token) -> bool:
    """Return whether this is all that a label has: a whole number, or one letter."""
    if token.kind is Kind.NUMBER:
        return token.form is Form.PLAIN
    return token.kind is Kind.NAME and len(token.text) == 1


def _fail(source: str, message: str, first: Token, last: Token, expected: str) -> NoReturn:
    raise EquationError(message, source=source, span=between(first, last), expected=expected)
