"""Tokens of a question."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from equations.errors import Span
from equations.linear import Rational


class Kind(Enum):
    NUMBER = "a number"
    NAME = "a variable"
    WORD = "a word"  # of a sentence around equations: it separates them
    NOUN = "a noun"  # such a word, or a variable where it stands in a calculation
    IS = "'is'"
    OF = "'of'"
    PLUS = "'+'"
    MINUS = "'-'"
    TIMES = "'*'"
    DIVIDE = "'/'"
    POWER = "'^'"
    SUPERSCRIPT = "a power"
    PERCENT = "'%'"
    FRACTION = "a fraction"  # \frac
    ROOT = "a root"
    OPEN = "'('"
    CLOSE = "')'"
    EQUALS = "'='"
    BLANK = "a blank"
    STOP = "'.'"
    QUESTION = "'?'"
    BANG = "'!'"
    ELLIPSIS = "'...'"
    COMMA = "','"
    SEMICOLON = "';'"
    COLON = "':'"
    ARROW = "an arrow"
    HASH = "'#'"
    GREATER = "'>'"
    NEWLINE = "a new line"
    SOFT = "a formula's end"  # `$`, `\(`: joins what it stands between, but never multiplies
    END = "the end"

    __hash__ = object.__hash__  # by identity: an Enum's own is slow, and these are in many sets


class Form(Enum):
    """The notation of a number, where it decides what may stand beside it."""

    PLAIN = "digits"
    DECIMAL = "digits with a decimal point"
    DECIMAL_COMMA = "digits with a decimal comma"
    SCIENTIFIC = "digits with an exponent"
    FRACTION = "a fraction"
    WORD = "a word"


class Token(NamedTuple):
    """One token and its place in the source.

    `value` is the number of `Kind.NUMBER` and `Kind.SUPERSCRIPT`; `text` the canonical name of
    `Kind.NAME`, else what was written; `spaced` says that white space stands before it.
    """

    kind: Kind
    text: str
    start: int
    end: int
    spaced: bool = False
    value: Rational | None = None
    form: Form = Form.PLAIN

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


def between(first: Token, last: Token) -> Span:
    return Span(first.start, last.end)


# An operand may end with these, or begin with those.
ENDS_OPERAND = frozenset({
    Kind.NUMBER, Kind.NAME, Kind.CLOSE, Kind.BLANK, Kind.SUPERSCRIPT, Kind.PERCENT,
})  # fmt: skip
BEGINS_OPERAND = frozenset({
    Kind.NUMBER, Kind.NAME, Kind.OPEN, Kind.BLANK, Kind.FRACTION, Kind.ROOT,
})  # fmt: skip
SIGNS = frozenset({Kind.PLUS, Kind.MINUS})
FACTORS = frozenset({Kind.TIMES, Kind.DIVIDE})
BINARY = SIGNS | FACTORS | {Kind.EQUALS, Kind.POWER}
