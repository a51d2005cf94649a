"""Tokens to an equation. The docstrings of the methods are the grammar.

One pass with an explicit stack of open parentheses: no recursion, so depth costs nothing and is
bounded only to keep answers readable. Arithmetic is exact and stays linear: a product of two
expressions that both hold the variable is `NotLinear`, as is a quotient by one, or any power.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, NoReturn

from equations.errors import EquationError, NotLinear, Span
from equations.lexer import Kind, Token, tokenize
from equations.linear import Equation, Rational, Term, whole

MAX_DEPTH = 32
MAX_BITS = 200  # of a numerator or denominator: about 60 digits
_SIGNS = (Kind.PLUS, Kind.MINUS)
_SAME_PRODUCT = (Kind.TIMES, Kind.DIVIDE)
_UNSIGNED = (Kind.NAME, Kind.OPEN)  # these two multiply without a sign


def parse(source: str) -> Equation:
    """The equation that `source` asks about, its terms in written order.

    `question := ["Solve"] sum "=" sum ["for" variable] ["." | "?"]`

    Raises `EquationError` (or its `NotLinear`) with the place of the first fault.
    """
    return _Parser(source).question()


class _Product(NamedTuple):
    """`coefficient * x + constant`, and what a zero would forget of how it was written."""

    coefficient: Rational
    constant: Rational
    has_variable: bool
    negative: bool


_VARIABLE = _Product(1, 0, has_variable=True, negative=False)


@dataclass(slots=True)
class _Group:
    """One open parenthesis, or a whole side: finished terms and the product being read."""

    opened: Token | None = None
    terms: list[_Product] = field(default_factory=list)
    product: _Product | None = None
    sign: int = 1  # of the operand to come
    divides: bool = False  # the operand to come is a divisor

    def close_term(self) -> None:
        if self.product is not None:
            self.terms.append(self.product)
        self.product = None


class _Parser:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokenize(source)
        self._position = 0
        self._variable: Token | None = None

    # -- grammar ---------------------------------------------------------------------------------

    def question(self) -> Equation:
        """`question := ["Solve"] sum "=" sum ["for" variable] ["." | "?"]`"""
        self._accept(Kind.SOLVE)
        left = self._sum()
        self._expect(Kind.EQUALS, "an operator or '='")
        right = self._sum()
        if self._accept(Kind.FOR):
            self._name(self._expect(Kind.NAME, "the variable to solve for"))
        self._accept(Kind.STOP)
        self._expect(Kind.END, "an operator, 'for' or the end")
        if self._variable is None:
            self._fail("no variable", Span(0, len(self._source)), "a variable of one letter")
        equation = Equation(_terms(left), _terms(right), self._variable.text)
        if equation.common_denominator().bit_length() > MAX_BITS:
            everything = Span(0, len(self._source))
            self._fail("a common denominator too long", everything, f"at most {MAX_BITS} bits")
        return equation

    def _sum(self) -> list[_Product]:
        """```
        sum     := product (("+" | "-") product)*
        product := operand (("*" | "/") operand | letter)*      -- 2x, 3(x - 1), left to right
        operand := ("+" | "-")* (number | letter)
        letter  := variable | "(" sum ")"
        ```
        """
        groups = [_Group()]
        while True:
            self._operand_start(groups)
            while self._peek().kind is Kind.CLOSE:
                if len(groups) == 1:
                    self._fail("unmatched ')'", self._peek().span, "an operator or '='")
                self._close_parenthesis(groups, self._next())
            if not self._operator(groups[-1]):
                if groups[-1].opened is not None:
                    self._unexpected("an operator or ')'")
                groups[-1].close_term()
                return groups[-1].terms

    def _operand_start(self, groups: list[_Group]) -> None:
        """Signs and open parentheses, up to and including a number or the variable."""
        while True:
            token = self._next()
            if token.value is not None:
                number = _Product(0, token.value, has_variable=False, negative=False)
                self._multiply(groups[-1], number, token, token)
                return
            if token.kind is Kind.NAME:
                self._name(token)
                self._multiply(groups[-1], _VARIABLE, token, token)
                return
            if token.kind is Kind.MINUS:
                groups[-1].sign *= -1
            elif token.kind is Kind.OPEN:
                if len(groups) > MAX_DEPTH:
                    self._fail(
                        "too many open parentheses", token.span, f"at most {MAX_DEPTH} at a time"
                    )
                groups.append(_Group(opened=token))
            elif token.kind is not Kind.PLUS:
                self._position -= 1
                self._unexpected("a number, the variable or '('")

    def _operator(self, group: _Group) -> bool:
        """Take what joins the operand just read to the next one; false where the sum ends."""
        token = self._peek()
        if token.kind in _SIGNS:
            group.close_term()
        elif token.kind in _SAME_PRODUCT:
            self._next()
            group.divides = token.kind is Kind.DIVIDE
        elif token.kind is Kind.POWER:
            self._fail("a power", token.span, "a linear equation", NotLinear)
        elif token.kind not in _UNSIGNED:
            return False
        return True

    def _close_parenthesis(self, groups: list[_Group], closed: Token) -> None:
        group = groups.pop()
        group.close_term()
        opened = group.opened
        assert opened is not None, "a group that closes was opened: this is a bug"
        total = _Product(
            sum(term.coefficient for term in group.terms),
            sum(term.constant for term in group.terms),
            any(term.has_variable for term in group.terms),
            negative=False,
        )
        if _is_long(total):
            self._fail("a sum too long", _from(opened, closed), f"at most {MAX_BITS} bits")
        self._multiply(groups[-1], total, opened, closed)

    # -- arithmetic ------------------------------------------------------------------------------

    def _multiply(self, group: _Group, operand: _Product, first: Token, last: Token) -> None:
        """Let `operand`, from token `first` to `last`, be the next of the group's product."""
        if group.sign < 0:
            group.sign = 1
            operand = _Product(
                -operand.coefficient, -operand.constant, operand.has_variable, negative=True
            )
        product = group.product
        if product is None:
            group.product = operand
            return
        if group.divides:
            group.divides = False
            factor: Rational = Fraction(1, self._divisor(operand, first, last))
            scaled = product
        elif not operand.coefficient:
            factor, scaled = operand.constant, product
        elif not product.coefficient:
            factor, scaled = product.constant, operand
        else:
            place = _from(first, last)
            self._fail("a product of variables", place, "a linear equation", NotLinear)
        group.product = _Product(
            scaled.coefficient * factor,
            scaled.constant * factor,
            product.has_variable or operand.has_variable,
            product.negative != operand.negative,
        )
        if _is_long(group.product):
            expected = f"at most {MAX_BITS} bits in a product"
            self._fail("a number too long", _from(first, last), expected)

    def _divisor(self, operand: _Product, first: Token, last: Token) -> Rational:
        if operand.coefficient:
            place = _from(first, last)
            self._fail("division by the variable", place, "a linear equation", NotLinear)
        if not operand.constant:
            self._fail("division by zero", _from(first, last), "a divisor other than zero")
        return operand.constant

    def _name(self, token: Token) -> None:
        if self._variable is None:
            self._variable = token
        elif token.text != self._variable.text:
            expected = f"the same variable, {self._variable.text!r}"
            self._fail(f"a second variable, {token.text!r}", token.span, expected)

    # -- tokens ----------------------------------------------------------------------------------

    def _peek(self) -> Token:
        return self._tokens[self._position]

    def _next(self) -> Token:
        token = self._tokens[self._position]
        self._position += 1
        return token

    def _accept(self, kind: Kind) -> Token | None:
        return self._next() if self._peek().kind is kind else None

    def _expect(self, kind: Kind, expected: str) -> Token:
        return self._accept(kind) or self._unexpected(expected)

    def _unexpected(self, expected: str) -> NoReturn:
        token = self._peek()
        found = f"unexpected {token.text!r}" if token.text else "unexpected end"
        self._fail(found, token.span, expected)

    def _fail(
        self, message: str, span: Span, expected: str, error: type[EquationError] = EquationError
    ) -> NoReturn:
        raise error(message, source=self._source, span=span, expected=expected)


def _from(first: Token, last: Token) -> Span:
    return Span(first.start, last.span.end)


def _is_long(product: _Product) -> bool:
    """Whether a numerator or denominator has over `MAX_BITS`."""
    coefficient, constant = product.coefficient, product.constant
    return (
        coefficient.numerator.bit_length() > MAX_BITS
        or coefficient.denominator.bit_length() > MAX_BITS
        or constant.numerator.bit_length() > MAX_BITS
        or constant.denominator.bit_length() > MAX_BITS
    )


def _terms(products: list[_Product]) -> tuple[Term, ...]:
    """Each product as a coefficient, a constant, or both in that order."""
    terms: list[Term] = []
    for coefficient, constant, has_variable, negative in products:
        if coefficient:
            terms.append(Term.of(whole(coefficient), is_coefficient=True))
        if constant:
            terms.append(Term.of(whole(constant), is_coefficient=False))
        if not coefficient and not constant:
            terms.append(Term(0, has_variable, negative))
    return tuple(terms)
