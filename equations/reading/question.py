"""A whole question: its equations, the variable it asks for, and its canonical wording."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

from equations.errors import EquationError, NotLinear, Span
from equations.limits import MAX_BITS, MAX_EQUATIONS, MAX_VARIABLES
from equations.linear import Equation, Term, render, whole
from equations.polynomial import CONSTANT, Monomial
from equations.reading import ambiguities, arithmetic, layout, refusals
from equations.reading.arithmetic import Operand
from equations.reading.grammar import PieceParser, Side
from equations.reading.labels import Piece
from equations.reading.lexer import tokenize
from equations.reading.tokens import Form, Kind, Token, between
from equations.system import (
    Nonlinear,
    Outcome,
    Product,
    Solutions,
    System,
    SystemEquation,
    render_system,
)


@dataclass(frozen=True)
class Question:
    """Equations, and the variable asked for; `None` asks for all of several."""

    system: System
    asked: str | None

    def single(self) -> Equation | None:
        """Return the one equation in one variable that this question is; `None` for a system."""
        variables = self.system.variables()
        if len(self.system.equations) > 1 or len(variables) > 1:
            return None
        (equation,) = self.system.equations
        return Equation(_terms(equation.left), _terms(equation.right), variables[0])

    def wanted(self) -> list[str]:
        """Return the variables whose values are asked for."""
        return self.system.variables() if self.asked is None else [self.asked]

    def solve(self) -> Solutions:
        return self.system.solve()

    def render(self) -> str:
        """Return the equations in the dataset's wording, with integer terms."""
        single = self.single()
        return (
            render(single.with_integers()) if single else render_system(self.system.with_integers())
        )

    def render_question(self) -> str:
        """Return the whole question in the dataset's wording, `Solve ... for x.`"""
        return f"Solve {self.render()} for {', '.join(self.wanted())}."


def read(source: str) -> Question:
    """Return the question that `source` asks.

    Raises `EquationError` (or its `NotLinear`) with the place of the first fault, also where the
    equations cannot determine what is asked for.
    """
    return _Reader(source).question()


def _terms(products: tuple[Product, ...]) -> tuple[Term, ...]:
    return tuple(Term(size, bool(names), negative) for size, names, negative in products)


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._products: dict[Monomial, Span] = {}  # where each product of variables was made
        self._divisors: dict[str, Token] = {}
        self._names: dict[str, Token] = {}  # the first token of each variable

    def question(self) -> Question:
        pieces = layout.pieces(self._source, self._tokens)
        asked = [name for piece in pieces if (name := piece.lone_name) is not None]
        chains = self._without_blank([piece for piece in pieces if piece.lone_name is None])
        self._check(chains)
        equations = tuple(equation for piece in chains for equation in self._equations(piece))
        if not equations:
            self._no_equation(asked)
        system = System(equations)
        variables = system.variables()
        self._check_size(len(equations), variables)
        named = list(dict.fromkeys(token.text for token in asked))
        for token in asked:
            if token.text not in variables:
                if len(token.text) > 2 and token.text.isalpha():
                    raise refusals.unknown_word(token.text).at(self._source, token.span)
                self._fail(
                    f"{token.text!r} is asked for, but in no equation",
                    token.span,
                    f"the same variable, {variables[0]!r}" if len(variables) == 1 else "a variable",
                )
        only = variables if len(variables) == 1 else named
        question = Question(system, only[0] if len(only) == 1 else None)
        self._check_solutions(question)
        return question

    # -- pieces ----------------------------------------------------------------------------------

    def _without_blank(self, pieces: list[Piece]) -> list[Piece]:
        """Return the pieces with a blank to fill in, as in `? + 3 = 7`, made the variable x."""
        tokens = [token for piece in pieces for token in piece.tokens]
        blanks = [token for token in tokens if token.kind is Kind.BLANK]
        if not blanks:
            return pieces
        others = [token for token in tokens if token.kind is Kind.NAME]
        if len(blanks) > 1 or others:
            place = max(blanks[-1], *others, key=lambda token: token.start) if others else blanks[1]
            self._fail("a blank beside another unknown", place.span, "a letter for each unknown")
        for piece in pieces:
            piece.tokens = [
                token._replace(kind=Kind.NAME, text="x") if token.kind is Kind.BLANK else token
                for token in piece.tokens
            ]
        return pieces

    def _check(self, pieces: list[Piece]) -> None:
        """Refuse what no equation can be read from. Notes the variables on the way."""
        for piece in pieces:
            first, last = piece.tokens[0], piece.tokens[-1]
            for token in piece.tokens:
                if token.kind is Kind.NAME:
                    self._names.setdefault(token.text, token)
            equals = [token for token in piece.tokens if token.kind is Kind.EQUALS]
            commas = [token for token in piece.tokens if token.form is Form.DECIMAL_COMMA]
            if len(equals) > 1 and commas:
                found = f"the comma of {commas[0].text!r} is a decimal comma or separates equations"
                self._fail(found, commas[0].span, "a decimal point, and ';' between equations")
            if len(equals) > 1:
                ambiguities.check_chain(self._source, piece.tokens)
            if not equals and len(pieces) > 1:
                text = self._source[first.start : last.end]
                self._fail(
                    f"{text[:20]!r} is no equation", between(first, last), "an operator or '='"
                )
        for token in self._tokens:
            if token.form is Form.SCIENTIFIC and (not self._names or "e" in self._names):
                found = f"{token.text!r} is a number with an exponent, or has the variable e"
                self._fail(found, token.span, f"{_digits_before_e(token.text)}*e for a product")

    def _equations(self, piece: Piece) -> list[SystemEquation]:
        """Return an equation for each `=` of a piece: `x = y = 3` has two."""
        parser = PieceParser(self._source, piece.tokens, self._products)
        sides = parser.chain()
        self._divisors |= parser.divisors
        place = between(piece.tokens[0], piece.tokens[-1])
        if len(sides) == 1:
            self._fail("unexpected end", Span(place.end, place.end), "an operator or '='")
        breaks = [i for i, token in enumerate(piece.tokens) if token.kind is Kind.EQUALS]
        starts = [0, *(index + 1 for index in breaks)]
        ends = [*breaks, len(piece.tokens)]
        return [
            self._equation(*pair, between(piece.tokens[starts[i]], piece.tokens[ends[i + 1] - 1]))
            for i, pair in enumerate(pairwise(sides))
        ]

    def _equation(self, left: Side, right: Side, place: Span) -> SystemEquation:
        names = [operand.name for operand in (*left, *right) if operand.name is not None]
        if not names:
            everything = Span(0, len(self._source)) if not self._names else place
            self._fail("no variable", everything, "a variable of one letter")
        remaining = arithmetic.products_of_variables(
            [operand.polynomial for operand in left], [operand.polynomial for operand in right]
        )
        products = [_products(side, remaining.keys()) for side in (left, right)]
        if not any(product.variables for side in products for product in side):
            products[0] += (Product(0, (names[0],), negative=False),)
        equation = SystemEquation(*products)
        if equation.common_denominator().bit_length() > MAX_BITS:
            self._fail("a common denominator too long", place, f"at most {MAX_BITS} bits")
        return equation

    # -- the whole -------------------------------------------------------------------------------

    def _no_equation(self, asked: Sequence[Token]) -> NoReturn:
        everything = Span(0, len(self._source))
        if not asked:
            self._fail("no equation", everything, "a number, the variable or '('")
        self._fail("no equation", between(asked[0], asked[-1]), "an equation, with '='")

    def _check_size(self, equations: int, variables: list[str]) -> None:
        everything = Span(0, len(self._source))
        if equations > MAX_EQUATIONS:
            self._fail(f"{equations} equations", everything, f"at most {MAX_EQUATIONS}")
        if len(variables) > MAX_VARIABLES:
            self._fail(f"{len(variables)} variables", everything, f"at most {MAX_VARIABLES}")

    def _check_solutions(self, question: Question) -> None:
        """Refuse equations that are not linear, and too few of them for what is asked."""
        system = question.system
        variables = system.variables()
        terms = (term for e in system.equations for term in (*e.left, *e.right))
        linear = all(len(term.variables) < 2 for term in terms)
        if len(variables) == 1 and linear and not self._divisors:
            return  # whatever its solutions are, they are what was asked for
        try:
            solutions = system.solve()
        except Nonlinear as error:
            everything = Span(0, len(self._source))
            raise NotLinear(
                "a power" if len(set(error.product)) == 1 else "a product of variables",
                source=self._source,
                span=self._products.get(error.product, everything),
                expected="a linear equation",
            ) from error
        self._check_divisors(solutions)
        few = len(system.equations) < len(variables)
        if (
            few
            and solutions.outcome is Outcome.INFINITE
            and not solutions.values.keys() >= {*question.wanted()}
        ):
            second = self._names.get(variables[1])
            self._fail(
                f"{_counted(len(variables), 'variable')}, {' and '.join(variables[:4])}, "
                f"but {_counted(len(system.equations), 'equation')}",
                second.span if second else Span(0, len(self._source)),
                f"the same variable, {variables[0]!r}, or as many equations as variables",
            )

    def _check_divisors(self, solutions: Solutions) -> None:
        """Refuse `x^2/x = 0`: the variable that a quotient cancelled must not be zero."""
        for name, token in self._divisors.items():
            if not solutions.values.get(name):
                raise NotLinear(
                    "division by the variable, which may be zero",
                    source=self._source,
                    span=token.span,
                    expected="a linear equation",
                )

    def _fail(self, message: str, span: Span, expected: str) -> NoReturn:
        raise EquationError(message, source=self._source, span=span, expected=expected)


def _products(side: Sequence[Operand], nonlinear: Set[Monomial]) -> tuple[Product, ...]:
    """Return the terms of a side in written order, without the powers that cancel."""
    products: list[Product] = []
    for operand in side:
        terms = arithmetic.terms_of(operand)
        for monomial, value in terms:
            if len(monomial) < 2 or monomial in nonlinear:
                products.append(Product(whole(-value if value < 0 else value), monomial, value < 0))
        if not terms:
            variables = CONSTANT if operand.name is None else (operand.name,)
            products.append(Product(0, variables, operand.negative))
    return tuple(products)


def _digits_before_e(text: str) -> str:
    return text.lower().partition("e")[0]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
