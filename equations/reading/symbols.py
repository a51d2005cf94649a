"""The signs that the lexer knows, and the regular expression that it matches.

No alternative of the expression can match a text in two ways, so it takes linear time.
"""

from __future__ import annotations

import re

from equations.reading import numbers, refusals, words
from equations.reading.tokens import Kind

BY_TEXT = {
    "**": Kind.POWER,
    "==": Kind.EQUALS,
    "{=}": Kind.EQUALS,
    "...": Kind.ELLIPSIS,
    "-->": Kind.ARROW,
    "->": Kind.ARROW,
    "\\(": Kind.SOFT,
    "\\)": Kind.SOFT,
    "\\[": Kind.SOFT,
    "\\]": Kind.SOFT,
    "\\{": Kind.OPEN,
    "\\}": Kind.CLOSE,
    "\\%": Kind.PERCENT,
    "\\\\": Kind.NEWLINE,
    "\u2026": Kind.ELLIPSIS,
    "\u2192": Kind.ARROW,
    "\u221a": Kind.ROOT,
    "\u25a1": Kind.BLANK,
    "\n": Kind.NEWLINE,
    "+": Kind.PLUS,
    "-": Kind.MINUS,
    "*": Kind.TIMES,
    "/": Kind.DIVIDE,
    "=": Kind.EQUALS,
    "^": Kind.POWER,
    "%": Kind.PERCENT,
    "?": Kind.QUESTION,
    "!": Kind.BANG,
    ".": Kind.STOP,
    ",": Kind.COMMA,
    ";": Kind.SEMICOLON,
    ":": Kind.COLON,
    "#": Kind.HASH,
    ">": Kind.GREATER,
    "$": Kind.SOFT,
    **dict.fromkeys("([{", Kind.OPEN),
    **dict.fromkeys(")]}", Kind.CLOSE),
}
COMMANDS = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), Kind.FRACTION),
    **dict.fromkeys(("cdot", "times", "ast", "bullet"), Kind.TIMES),
    **dict.fromkeys(("to", "rightarrow", "Rightarrow", "implies", "Longrightarrow"), Kind.ARROW),
    **dict.fromkeys(("land", "wedge"), Kind.SEMICOLON),
    **dict.fromkeys(("quad", "qquad"), Kind.SOFT),
    **dict.fromkeys(("ldots", "dots", "cdots"), Kind.ELLIPSIS),
    **dict.fromkeys(("square", "Box", "Square"), Kind.BLANK),
    "div": Kind.DIVIDE,
    "sqrt": Kind.ROOT,
    "newline": Kind.NEWLINE,
}
SILENT = frozenset((
    *("displaystyle", "textstyle", "left", "right", "big", "Big", "bigl", "bigr"),
    *("limits", "nonumber"),
))  # fmt: skip
_TRANSPARENT = "text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|boxed|mbox"
_SUPERSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074-\u2079"
_INDEX = r"(?:_\{[A-Za-z0-9]+\}|_[0-9]++|_[A-Za-z]++|[0-9]++(?![.,][0-9])|[\u2080-\u2089]++)?'*+"
_LATIN = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_LONGEST_FIRST = sorted({*BY_TEXT, *refusals.SIGNS}, key=len, reverse=True)
TOKEN = re.compile(
    r"(?P<space>[ \t\r\u202f]+)"
    r"|(?P<repeating>[0-9]*\.[0-9]*\([0-9]+\))"
    rf"|(?P<number>{numbers.PATTERN})"
    rf"|(?P<phrase>(?i:{words.PHRASE}|{words.COMPOUND})(?![{_LATIN}0-9]))"
    rf"|(?P<apostrophe>[lLdD]'(?=[{_LATIN}]{{2}})|'s(?![{_LATIN}0-9]))"
    rf"|(?P<word>(?:[{_LATIN}]++|[\u0370-\u03ff]){_INDEX})"
    r"|(?P<digits>\\[dt]?frac *[0-9] *[0-9])"
    r"|(?P<block>\\(?:begin|end) *\{[a-z]*\*?\}(?:\{[lcr|]*\})?)"
    r"|(?P<label>\\(?:tag|label)\*? *\{[^{}]{0,40}\})"
    r"|(?P<silent>\\[,;:! ])"
    rf"|(?P<transparent>\\(?:{_TRANSPARENT}) *\{{)"
    r"|(?P<command>\\[A-Za-z]+)"
    r"|(?P<entity>&(?:[A-Za-z]{2,8}[0-9]{0,2}|#[0-9]{1,6}|#[xX][0-9A-Fa-f]{1,5});)"
    rf"|(?P<superscript>\u207b?[{_SUPERSCRIPTS}]+)"
    r"|(?P<blank>_+)"
    r"|(?P<alignment>&+)"
    rf"|(?P<symbol>{'|'.join(map(re.escape, _LONGEST_FIRST))})"
    r"|(?P<mark>[\"'`])"
)
LETTERS = re.compile(rf"[{_LATIN}]+|[\u0370-\u03ff]")
SUBSCRIPT_DIGITS = {0x2080 + digit: str(digit) for digit in range(10)}
SUPERSCRIPT_DIGITS = str.maketrans(
    "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-0123456789"
)
_NUMBER = re.compile(numbers.PATTERN)


def is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None
