"""Tokens to pieces: each an equation, or a variable that is asked for.

Words of a sentence, commas, semicolons, full stops, arrows and new lines separate pieces. What
decorates a question goes: bullets, exercise labels, the marks it is worth, brackets around whole
equations. A label that stands apart is no factor, and a new line never multiplies: a line that may
go on with the one before or begin anew is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from equations.errors import EquationError
from equations.reading import labels, mixed, words
from equations.reading.labels import Piece
from equations.reading.tokens import (
    BEGINS_OPERAND,
    BINARY,
    ENDS_OPERAND,
    SIGNS,
    Form,
    Kind,
    Token,
    between,
)

_ALWAYS = frozenset({Kind.WORD, Kind.SEMICOLON, Kind.COMMA, Kind.ARROW, Kind.STOP, Kind.END})
_CONTEXTUAL = frozenset({
    *(Kind.QUESTION, Kind.ELLIPSIS, Kind.BANG, Kind.NOUN, Kind.IS, Kind.OF, Kind.GREATER),
    Kind.NAME,
})  # fmt: skip
_LINES = frozenset({Kind.NEWLINE, Kind.SOFT})
_JOINS_LINES = frozenset({Kind.EQUALS, Kind.DIVIDE, Kind.POWER, Kind.CLOSE})
_PARTS_OF_SPEECH = (("a", Kind.NOUN), ("A", Kind.NOUN), ("I", Kind.WORD))  # `a number`, `I need`


def pieces(source: str, tokens: Sequence[Token]) -> list[Piece]:
    """Return the pieces of a question, none of them empty. Raises `EquationError`."""
    merged = mixed.merged(source, labels.without_marks(tokens))
    split = _Splitter(source, _without_outer_brackets(_resolved(source, merged))).split()
    for piece in split:
        piece.tokens = labels.without(source, piece)
    return [piece for piece in split if piece.tokens and not labels.is_label(piece)]


# -- what a token means by its neighbours --------------------------------------------------------


def _resolved(source: str, tokens: Sequence[Token]) -> list[Token]:
    """Return the tokens with each sign of several meanings given one by its neighbours."""
    result: list[Token] = []
    for index, token in enumerate(tokens):
        if token.kind not in _CONTEXTUAL:
            result.append(token)
            continue
        if token.kind is Kind.GREATER:
            continue  # quoted mail: the lexer leaves it only where a line begins
        before = result[-1] if result else None
        after = tokens[min(index + 1, len(tokens) - 1)]
        kind = _meaning(source, token, before, after)
        result.append(token._replace(kind=kind) if kind is not token.kind else token)
    nouns = {token.text for token in tokens if token.kind is Kind.NOUN}
    if not nouns:
        return result
    names = nouns & {token.text for token in result if token.kind is Kind.NAME}
    return [token._replace(kind=Kind.NAME) if token.text in names else token for token in result]


def _meaning(source: str, token: Token, before: Token | None, after: Token) -> Kind:
    """Return the kind of a token between these two."""
    kind = token.kind
    behind = None if before is None else before.kind
    if kind in (Kind.QUESTION, Kind.ELLIPSIS):
        operates = after.kind in BINARY or after.kind is Kind.CLOSE
        fills = behind in BINARY or (operates and behind not in ENDS_OPERAND)
        kind = Kind.BLANK if fills else Kind.SEMICOLON
    elif kind is Kind.BANG:
        operates = after.kind in BINARY or after.kind is Kind.CLOSE
        factorial = operates and behind in ENDS_OPERAND and not token.spaced
        kind = Kind.BANG if factorial else Kind.SEMICOLON
    elif kind is Kind.NOUN:
        calculates = behind in BINARY or behind in (Kind.NUMBER, Kind.OPEN)
        kind = Kind.NAME if calculates or after.kind in BINARY else Kind.WORD
    elif kind is Kind.IS:
        says = behind in ENDS_OPERAND and (after.kind in BEGINS_OPERAND or after.kind in SIGNS)
        kind = Kind.EQUALS if says else Kind.WORD
    elif kind is Kind.OF:
        share = before is not None and _is_share(source, before)
        kind = Kind.TIMES if share else Kind.WORD
    elif (token.text, after.kind) in _PARTS_OF_SPEECH:
        kind = Kind.WORD if before is None or behind in _ALWAYS else kind
    return kind


def _is_share(source: str, token: Token) -> bool:
    """Return whether `of` after this token multiplies: `50% of x`, `half of x`, `2/3 of x`."""
    if token.kind is Kind.PERCENT or token.form in (Form.WORD, Form.FRACTION):
        return True
    return token.kind is Kind.NUMBER and source[: token.start].rstrip().endswith("/")


def _without_outer_brackets(tokens: list[Token]) -> list[Token]:
    """Return the tokens with brackets around equations or lists made separators.

    `solve(2x + 3 = 7, x)` has such brackets, `3(x + 1) = 6` has none.
    """
    opened: list[int] = []
    pairs: dict[int, int] = {}
    outer: set[int] = set()
    for index, token in enumerate(tokens):
        if token.kind is Kind.OPEN:
            opened.append(index)
        elif token.kind is Kind.CLOSE and opened:
            start = opened.pop()
            pairs[start] = index
            if start in outer and opened:
                outer.add(opened[-1])  # a list of lists
        elif token.kind in (Kind.EQUALS, Kind.COMMA, Kind.SEMICOLON) and opened:
            outer.add(opened[-1])
    result = list(tokens)
    for start, end in pairs.items():
        if start in outer:
            for index in (start, end):
                result[index] = tokens[index]._replace(kind=Kind.COMMA)
    return result


# -- splitting -----------------------------------------------------------------------------------


class _Splitter:
    def __init__(self, source: str, tokens: list[Token]) -> None:
        self._source = source
        self._tokens = tokens
        self._pieces: list[Piece] = [Piece(None)]

    def split(self) -> list[Piece]:
        for index, token in enumerate(self._tokens):
            if token.kind in _ALWAYS:
                self._check_dot(index)
                self._separate(token.kind, index)
            elif token.kind in _LINES:
                self._line(index)
            elif token.kind is Kind.COLON:
                self._colon(index)
            elif token.kind is Kind.HASH:
                self._hash(token)
            else:
                piece = self._pieces[-1]
                piece.tokens.append(token)
                if len(piece.tokens) == 2:
                    self._asked_before(index)
        return [piece for piece in self._pieces if piece.tokens]

    def _separate(self, kind: Kind, index: int) -> None:
        """End the current piece at the separator at `index`, if the piece has begun."""
        current = self._pieces[-1]
        if current.tokens:
            current.closer = kind
            after = self._tokens[min(index + 1, len(self._tokens) - 1)]
            current.closes_apart = after.spaced and not self._tokens[index].spaced
            self._pieces.append(Piece(kind))
        elif current.opener is not Kind.WORD:
            current.opener = kind

    def _check_dot(self, index: int) -> None:
        """Refuse `2 . x` and `x.y`: a full stop is behind a word and apart from the next."""
        token, after = self._tokens[index], self._tokens[min(index + 1, len(self._tokens) - 1)]
        between_operands = self._pieces[-1].tokens and after.kind in BEGINS_OPERAND
        if token.kind is Kind.STOP and between_operands and token.spaced >= after.spaced:
            found = "a dot that ends a sentence or multiplies"
            self._fail(found, token, "* for a product, ';' between equations")

    def _line(self, index: int) -> None:
        """A new line, or the end of a formula: it joins what cannot stand alone."""
        piece = self._pieces[-1]
        after = self._tokens[index + 1]
        if after.kind in _LINES:
            return  # the last of several decides
        if not piece.tokens:
            self._separate(Kind.NEWLINE, index)
            return
        last = piece.tokens[-1].kind
        unfinished = last in BINARY or last in (Kind.OPEN, Kind.FRACTION, Kind.ROOT)
        if unfinished or (after.kind in _JOINS_LINES and not piece.has_equals):
            return
        if after.kind is Kind.CLOSE or (after.kind is Kind.TIMES and not piece.has_equals):
            return
        if after.kind in SIGNS:
            if not piece.has_equals or self._tokens[index].kind is Kind.SOFT:
                return
            if not self._next_line_has_equals(index):
                self._fail(
                    f"a line that begins with {after.text!r} goes on with the one before, or not",
                    after,
                    "the equation on one line",
                )
        elif after.kind in (Kind.DIVIDE, Kind.POWER):
            self._fail(f"a line begins with {after.text!r}", after, "the equation on one line")
        self._separate(Kind.NEWLINE, index)

    def _next_line_has_equals(self, index: int) -> bool:
        start = next(
            i for i in range(index, len(self._tokens)) if self._tokens[i].kind not in _LINES
        )
        for token in self._tokens[start:]:
            if token.kind in _ALWAYS or token.kind is Kind.NEWLINE:
                return False
            if token.kind is Kind.EQUALS:
                return True
        return False

    def _colon(self, index: int) -> None:
        """`Solve for x: ...` and `3: ...` separate; `x : 3` divides."""
        token, after = self._tokens[index], self._tokens[index + 1]
        piece = self._pieces[-1]
        apart = not token.spaced and after.spaced
        asked = len(piece.tokens) == 1 and piece.opener is Kind.WORD
        label = len(piece.tokens) == 1 and words.LABELS.fullmatch(piece.tokens[0].text) is not None
        if not piece.tokens or apart or asked or label or after.kind not in BEGINS_OPERAND:
            self._separate(Kind.COLON, index)
        else:
            piece.tokens.append(token._replace(kind=Kind.DIVIDE))

    def _hash(self, token: Token) -> None:
        if self._pieces[-1].tokens:
            self._fail("unexpected '#'", token, "digits, a variable, + - * / ( ) or =")
        self._pieces[-1].opener = Kind.HASH

    def _asked_before(self, index: int) -> None:
        """Split `find x 3x = 12` behind its first variable."""
        piece, token = self._pieces[-1], self._tokens[index]
        if piece.opener is Kind.WORD and token.spaced:
            first = piece.tokens[0]
            if first.kind is Kind.NAME and token.kind is Kind.NUMBER:
                piece.tokens.pop()
                self._separate(Kind.WORD, index)
                self._pieces[-1].tokens.append(token)

    def _fail(self, message: str, token: Token, expected: str) -> NoReturn:
        raise EquationError(
            message, source=self._source, span=between(token, token), expected=expected
        )
