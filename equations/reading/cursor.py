"""A place among the tokens of a piece, and the faults that are found there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from equations.errors import EquationError, Span
from equations.reading.arithmetic import Refused
from equations.reading.tokens import Kind, Token, between


class Cursor:
    """The tokens of one piece, closed by one of `Kind.END`."""

    def __init__(self, source: str, tokens: Sequence[Token]) -> None:
        self._source = source
        end = tokens[-1].end
        self._tokens = [*tokens, Token(Kind.END, "", end, end)]
        self._position = 0

    @contextmanager
    def _at(self, first: Token, last: Token) -> Iterator[None]:
        """Give an operation that is refused inside its place, from `first` to `last`."""
        try:
            yield
        except Refused as error:
            raise error.refusal.at(self._source, between(first, last)) from error

    def _peek(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _unexpected(self, expected: str) -> NoReturn:
        token = self._peek()
        found = f"unexpected {token.text!r}" if token.text else "unexpected end"
        self._fail(found, token.span, expected)

    def _fail(self, message: str, span: Span, expected: str) -> NoReturn:
        raise EquationError(message, source=self._source, span=span, expected=expected)
