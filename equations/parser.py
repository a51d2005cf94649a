"""A text to what it asks about: one equation in one variable, or a whole question.

`equations.reading` reads whatever people type. The dataset's own wording, which most programs send,
has only one reading and takes a shorter path here, also without its spaces (`3x+5=20`): one match
for the whole text, one for each term.
"""

from __future__ import annotations

import re

from equations.errors import EquationError, Span
from equations.limits import MAX_CHARACTERS, MAX_DIGITS
from equations.linear import Equation, Term
from equations.reading.question import Question, read

_TERM = rf"(?:[0-9]{{1,{MAX_DIGITS}}}(?:\*?[A-Za-z])?|[A-Za-z])"
_SIGN = r"(?: [+-] |(?<![0-9][eE])[+-])"  # `2e+3` may be a number with an exponent
_SUM = rf"-?{_TERM}(?:{_SIGN}{_TERM})*"
_PLAIN = re.compile(rf"(?:Solve )?({_SUM})(?: = |=)({_SUM})(?: for ([A-Za-z])\.)?")
_TERMS = re.compile(r"(-?) ?([0-9]*)\*?([A-Za-z]?)(?: \+ |\+| ?(?=-)|\Z)")


class SeveralUnknowns(EquationError):
    """A question that was understood but is not one equation in one variable."""


def parse(source: str) -> Equation:
    """Return the equation that `source` asks about, its terms in written order.

    Raises `EquationError` (or its `NotLinear`) with the place of the first fault, and
    `SeveralUnknowns` for a system.
    """
    asked = parse_any(source)
    if isinstance(asked, Question):
        raise several_unknowns(asked, source)
    return asked


def parse_any(source: str) -> Equation | Question:
    """Return the equation in one variable that `source` asks about, or else its whole question.

    Raises `EquationError` (or its `NotLinear`) with the place of the first fault.
    """
    plain = _plain(source)
    if plain is not None:
        return plain
    question = read(source)
    return question.single() or question


def parse_question(source: str) -> Question:
    """Return the whole question that `source` asks: equations, and the variable asked for."""
    return read(source)


def _plain(source: str) -> Equation | None:
    """Return the equation of a text in the dataset's wording; `None` for any other text."""
    match = _PLAIN.fullmatch(source) if len(source) <= MAX_CHARACTERS else None
    if match is None:
        return None
    names: set[str] = {match[3]} if match[3] else set()
    left, right = _side(match[1], names), _side(match[2], names)
    if len(names) != 1:
        return None
    (variable,) = names
    terms = (*left, *right)
    # A variable that is only asked for is in no equation: `1 = 1 for x`.
    return Equation(left, right, variable) if any(t.is_coefficient for t in terms) else None


def _side(text: str, names: set[str]) -> tuple[Term, ...]:
    terms: list[Term] = []
    for sign, digits, name in _TERMS.findall(text):
        if digits or name:  # not the empty match behind the last term
            terms.append(Term(int(digits) if digits else 1, bool(name), sign == "-"))
        if name:
            names.add(name)
    return tuple(terms)


def several_unknowns(question: Question, source: str) -> SeveralUnknowns:
    """Return the refusal of a system, where only one equation in one variable can be solved."""
    equations, variables = question.system.equations, question.system.variables()
    count = f"{len(equations)} equations" if len(equations) > 1 else "one equation"
    return SeveralUnknowns(
        f"a system: {count} in {' and '.join(variables)}",
        source=source,
        span=Span(0, len(source)),
        expected="one equation in one variable, which is all that the model solves",
    )
