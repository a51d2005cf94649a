"""Refuse texts that are not understood: say what was found, and what to write."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from equations.errors import EquationError, NotLinear, Span


class Refusal(NamedTuple):
    message: str
    expected: str
    error: type[EquationError] = EquationError

    def at(self, source: str, span: Span) -> EquationError:
        return self.error(self.message, source=source, span=span, expected=self.expected)


_LINEAR = "a linear equation"
_INEQUALITY = Refusal("an inequality", "an equation, with '='")
_NOT_EQUAL = Refusal("'not equal'", "an equation, with '='")
_ABOUT = Refusal("'approximately equal'", "an exact equation, with '='")
_DEFINITION = Refusal("a definition, ':='", "an equation, with '='")
_INFINITY = Refusal("infinity", "a number")
_PLUS_MINUS = Refusal("a plus-minus sign, which has two values", "'+' or '-'")
_ARROW_OR_INEQUALITY = Refusal(
    "'=>', which is an arrow or an inequality", "'=' in an equation, ';' between equations"
)

SIGNS = {
    **dict.fromkeys(
        ("<", ">", "<=", ">=", "=<", "\u2264", "\u2265", "\u2a7d", "\u2a7e"), _INEQUALITY
    ),
    **dict.fromkeys(("!=", "<>", "\u2260"), _NOT_EQUAL),
    **dict.fromkeys(("\u2248", "\u2245", "\u2243", "~", "\u223c", "~="), _ABOUT),
    **dict.fromkeys((":=", "\u2254"), _DEFINITION),
    **dict.fromkeys(("\u00b1", "\u2213"), _PLUS_MINUS),
    "=>": _ARROW_OR_INEQUALITY,
    "\u2261": Refusal("a congruence or an identity", "an equation, with '='"),
    "\u221e": _INFINITY,
    "\u2030": Refusal("per mille", "a fraction, such as 3/1000"),
    "|": Refusal("an absolute value", _LINEAR, NotLinear),
    "||": Refusal("a norm or 'or'", "equations separated by ';'"),
    "\u222b": Refusal("an integral", _LINEAR, NotLinear),
    "\u2211": Refusal("a sum sign", "its terms, written out"),
    "\u221b": Refusal("a cube root", "a number"),
    "@": Refusal("'@'", "digits, a variable, + - * / ( ) or ="),
    "{": Refusal("'{'", "'('"),
}
_LATEX = {
    **dict.fromkeys(("le", "leq", "leqslant", "ge", "geq", "geqslant", "lt", "gt"), _INEQUALITY),
    **dict.fromkeys(("ne", "neq"), _NOT_EQUAL),
    **dict.fromkeys(("approx", "sim", "simeq", "cong"), _ABOUT),
    **dict.fromkeys(("pm", "mp"), _PLUS_MINUS),
    "infty": _INFINITY,
}
_FUNCTIONS = frozenset((
    *("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "arcsin", "arccos"),
    *("arctan", "sinh", "cosh", "tanh", "log", "ln", "lg", "exp", "abs", "max", "min", "floor"),
    *("ceil", "round", "mod", "gcd", "lcm", "det", "lim", "limit", "int", "diff", "sum", "prod"),
    *("integral", "derivative"),
))  # fmt: skip
_INEQUALITY_WORDS = frozenset((
    *("less", "greater", "more", "fewer", "least", "most", "between", "below", "above"),
    *("exceeds", "positive", "negative"),
))  # fmt: skip
_CONSTANTS = {
    "pi": Refusal("the number pi, which is not rational", "a rational number, such as 22/7"),
    **dict.fromkeys(("inf", "infinity", "oo"), _INFINITY),
    **dict.fromkeys(("or", "not", "nor"), Refusal("a word of logic", "equations that all hold")),
    "nan": Refusal("'nan'", "a number"),
}


def sign(text: str) -> Refusal:
    """Return what is said of a sign in `SIGNS`."""
    return SIGNS[text]


def word(text: str) -> Refusal | None:
    """Return why this word can be no variable; `None` where it can."""
    lower = text.lower()
    if lower in _FUNCTIONS:
        return Refusal(f"the function {lower!r}", _LINEAR, NotLinear)
    if lower in _INEQUALITY_WORDS:
        return Refusal(f"the word {lower!r}, as of an inequality", "an equation, with '='")
    return _CONSTANTS.get(lower)


def unknown_word(text: str) -> Refusal:
    return Refusal(
        f"the word {text[:20]!r} is not understood here",
        "an equation such as 3x + 5 = 20, or 'Solve 3x + 5 = 20 for x'",
    )


def letters(text: str) -> Refusal:
    """Return what is said of letters that are a product or one name."""
    product = "*".join(text[:4])
    return Refusal(
        f"{text[:20]!r} is one name or a product of variables",
        f"{product} for a product, or a variable of one letter",
    )


def latex(command: str) -> Refusal:
    name = command[1:]
    if (known := _LATEX.get(name) or word(name)) is not None:
        return known
    return Refusal(
        f"the LaTeX command {command[:20]!r}",
        "\\frac, \\cdot, \\times, \\div, \\sqrt or plain text",
    )


def character(text: str) -> Refusal:
    """Return what is said of a character that no question has."""
    category = unicodedata.category(text)
    code = f"U+{ord(text):04X}"
    name = unicodedata.name(text, "")
    if category.startswith(("L", "M")) and name:
        script = name.split()[0].title()
        latin = script == "Latin"
        found = (
            f"the letter {text!r} ({name.lower()})" if latin else f"the letter {text!r} is {script}"
        )
        return Refusal(
            found, "a Latin letter for a variable" if not latin else "a letter from a to z"
        )
    if category in ("Cf", "Cc", "Cs", "Co", "Cn"):
        kind = "a control character" if category in ("Cf", "Cc") else "no character"
        return Refusal(f"{kind} ({code})", "digits, a variable, + - * / ( ) or =")
    shown = f"{text!r} ({name.lower()})" if name else code
    return Refusal(f"unexpected character {shown}", "digits, a variable, + - * / ( ) or =")
