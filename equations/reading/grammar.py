"""A piece of a question to the sides of its equations. The methods' docstrings are the grammar.

One pass with an explicit stack of open brackets: no recursion, so depth costs nothing and is
bounded only to keep answers readable. A multiplication sign may be left out between two operands;
what then has two readings is refused (docs/questions.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from equations.errors import NotLinear, Span
from equations.limits import MAX_DEPTH
from equations.polynomial import Monomial, constant, variable
from equations.reading import ambiguities, arithmetic
from equations.reading.arithmetic import Operand
from equations.reading.cursor import Cursor
from equations.reading.groups import Group, Role
from equations.reading.refusals import Refusal
from equations.reading.tokens import (
    BEGINS_OPERAND,
    FACTORS,
    SIGNS,
    Form,
    Kind,
    Token,
    between,
)

_PAIRS = {"(": ")", "[": "]", "{": "}"}
_OPERAND = "a number, the variable or '('"

_ROOT_OF_VARIABLE = Refusal("a root of the variable", "a linear equation", NotLinear)
_VARIABLE_IN_EXPONENT = Refusal("the variable in an exponent", "a linear equation", NotLinear)

Side = list[Operand]


class PieceParser(Cursor):
    """Reads one piece. `places` tells where each product of variables was made."""

    def __init__(self, source: str, tokens: Sequence[Token], places: dict[Monomial, Span]) -> None:
        super().__init__(source, tokens)
        self._groups: list[Group] = []
        self._places = places
        self.divisors: dict[str, Token] = {}  # variables that a quotient cancelled

    # -- grammar ---------------------------------------------------------------------------------

    def chain(self) -> list[Side]:
        """`chain := sum ("=" sum)+`"""
        sides = [self._sum()]
        while self._peek().kind is Kind.EQUALS:
            self._next()
            sides.append(self._sum())
        if self._peek().kind is not Kind.END:
            self._unexpected("an operator or '='")
        return sides

    def _sum(self) -> Side:
        """```
        sum     := product (("+" | "-") product)*
        product := operand (("*" | "/") operand | factor)*      -- 2x, 3(x - 1), left to right
        operand := ("+" | "-")* power
        power   := atom ("^" exponent | "!" | "%")*
        atom    := number | variable | bracket | root | fraction
        factor  := power that begins with no sign, nor with a number unless behind a bracket
        ```
        """
        self._groups = [Group(Role.SIDE)]
        while True:
            self._operand_start()
            while self._peek().kind is Kind.CLOSE:
                if len(self._groups) == 1:
                    self._fail("unmatched ')'", self._peek().span, "an operator or '='")
                self._close_bracket(self._next())
            if not self._operator():
                if self._groups[-1].role is not Role.SIDE:
                    self._close_missing()
                self._groups[-1].close_term()
                return self._groups[-1].terms

    def _operand_start(self) -> None:
        """Signs and open brackets, up to and including a number or a variable."""
        while True:
            token = self._next()
            group = self._groups[-1]
            if token.kind is Kind.NUMBER:
                self._take(Operand(constant(token.value or 0)), token, token)
                return
            if token.kind is Kind.NAME:
                ambiguities.check_name(self._source, self._tokens, self._position - 1)
                self._take(Operand(variable(token.text), token.text), token, token)
                return
            if token.kind is Kind.MINUS:
                group.negative = not group.negative
            elif token.kind is Kind.OPEN:
                self._open(Role.BRACKET, token)
            elif token.kind is Kind.FRACTION:
                self._open(Role.NUMERATOR, self._expect_open())
            elif token.kind is Kind.ROOT:
                if self._root(token):
                    return
            elif token.kind is not Kind.PLUS:
                self._position -= 1
                self._unexpected(_OPERAND)

    def _root(self, token: Token) -> bool:
        """`root := ("sqrt" | "√") (number | bracket)`; return whether it has ended."""
        if self._peek().kind is Kind.OPEN:
            if self._peek().text == "[":
                self._fail("a root other than the square root", self._peek().span, "a number")
            self._open(Role.ROOT, self._next())
            return False
        number = self._next()
        if number.kind is not Kind.NUMBER:
            self._position -= 1
            raise _ROOT_OF_VARIABLE.at(self._source, token.span)
        with self._at(token, number):
            operand = arithmetic.root(Operand(constant(number.value or 0)))
        self._take(operand, token, number)
        return True

    def _operator(self) -> bool:
        """Take what joins the operand just read to the next one; false where the sum ends."""
        token, group = self._peek(), self._groups[-1]
        if token.kind in SIGNS:
            group.close_term()
        elif token.kind in FACTORS:
            self._next()
            group.divides = token.kind is Kind.DIVIDE
            group.divided = False
            group.explicit = True
        elif token.kind not in BEGINS_OPERAND:
            return False
        else:
            ambiguities.check_factor(self._source, self._tokens, self._position)
        return True

    # -- brackets --------------------------------------------------------------------------------

    def _open(self, role: Role, token: Token, numerator: Operand | None = None) -> None:
        if len(self._groups) > MAX_DEPTH:
            self._fail("too many open brackets", token.span, f"at most {MAX_DEPTH} at a time")
        self._groups.append(Group(role, token, numerator))

    def _expect_open(self) -> Token:
        token = self._next()
        if token.kind is not Kind.OPEN or token.text != "{":
            self._position -= 1
            self._unexpected("'{'")
        return token

    def _close_bracket(self, closed: Token) -> None:
        group = self._groups.pop()
        opened = group.opened
        assert opened is not None, "a bracket that closes was opened: this is a bug"
        if closed.text[-1] != _PAIRS[opened.text[-1]]:
            expected = f"'{_PAIRS[opened.text[-1]]}'"
            self._fail(f"'{opened.text}' closed by '{closed.text}'", closed.span, expected)
        self._finish(group, opened, closed)

    def _close_missing(self) -> None:
        """Close the one bracket that is open where a side ends: `3(x - 2 = 6`.

        Only where there is one place for it: behind a sum of at most two terms.
        """
        group = self._groups[-1]
        alone = len(self._groups) == 2 and group.role is Role.BRACKET and len(group.terms) < 2
        if not alone or self._peek().kind not in (Kind.EQUALS, Kind.END):
            self._unexpected("an operator or ')'")
        self._groups.pop()
        assert group.opened is not None, "only a side is not opened: this is a bug"
        self._finish(group, group.opened, self._tokens[self._position - 1])

    def _finish(self, group: Group, opened: Token, closed: Token) -> None:
        """Make a closed bracket an operand of the group around it."""
        group.close_term()
        with self._at(opened, closed):
            operand = arithmetic.total(group.terms)
            if group.role is Role.ROOT:
                operand = arithmetic.root(operand)
        if group.role is Role.NUMERATOR:
            self._open(Role.DENOMINATOR, self._expect_open(), operand)
            self._operand_start()
            return
        if group.numerator is not None:
            self._note_divisor(operand, opened)
            with self._at(opened, closed):
                operand = arithmetic.quotient(group.numerator, operand)
        self._take(operand, opened, closed)

    # -- operands --------------------------------------------------------------------------------

    def _take(self, operand: Operand, first: Token, last: Token) -> None:
        """Let `operand`, from token `first` to `last`, be the next of the group's product."""
        operand, last = self._postfix(operand, first, last)
        group = self._groups[-1]
        if group.negative:
            group.negative = False
            operand = operand.negated()
        explicit, group.explicit = group.explicit, False
        if group.product is None:
            group.product = operand
            return
        if group.divides:
            self._note_divisor(operand, first)
        elif group.divided and not explicit:
            place = between(first, last)
            ambiguities.check_behind_quotient(self._source, place, group.product, operand)
        with self._at(first, last):
            combine = arithmetic.quotient if group.divides else arithmetic.product
            group.product = combine(group.product, operand)
        group.divided, group.divides = group.divides, False
        self._note_products(group.product, first, last)

    def _postfix(self, operand: Operand, first: Token, last: Token) -> tuple[Operand, Token]:
        """`power := atom ("^" exponent | "!" | "%")*`"""
        raised = False
        group = self._groups[-1]
        while True:
            token = self._peek()
            if token.kind in (Kind.POWER, Kind.SUPERSCRIPT):
                if raised:
                    self._fail("a power of a power", token.span, "brackets around the inner power")
                raised, last = True, self._next()
                exponent = token.value
                if token.kind is Kind.POWER:
                    exponent, last = self._exponent(token)
                with self._at(first, last):
                    operand = arithmetic.power(operand, int(exponent or 0))
                self._note_products(operand, first, last)
            elif token.kind is Kind.BANG:
                last = self._next()
                with self._at(first, last):
                    operand = arithmetic.factorial_of(operand)
            elif token.kind is Kind.PERCENT:
                last = self._next()
                if not group.explicit:
                    ambiguities.check_percent(self._source, first, last, self._peek())
                operand = arithmetic.percent(operand)
            else:
                return operand, last

    def _exponent(self, power: Token) -> tuple[int, Token]:
        """`exponent := ["-"] number | open ["-"] number close`"""
        opened = self._next() if self._peek().kind is Kind.OPEN else None
        sign = -1 if self._peek().kind is Kind.MINUS else 1
        if self._peek().kind in SIGNS:
            self._next()
        number = self._next()
        if number.kind is Kind.NAME:
            raise _VARIABLE_IN_EXPONENT.at(self._source, between(power, number))
        if number.kind is not Kind.NUMBER or number.form is not Form.PLAIN:
            self._position -= 1
            self._unexpected("a whole number as the exponent")
        last = number
        if opened is not None:
            last = self._next()
            if last.kind is not Kind.CLOSE:
                self._position -= 1
                self._unexpected("')' behind the exponent")
        else:
            ambiguities.check_exponent(self._source, number, self._peek())
        return sign * min(int(number.value or 0), 10**6), last

    # -- notes and faults ------------------------------------------------------------------------

    def _note_divisor(self, divisor: Operand, token: Token) -> None:
        for monomial in divisor.polynomial:
            for name in monomial:
                self.divisors.setdefault(name, token)

    def _note_products(self, operand: Operand, first: Token, last: Token) -> None:
        for monomial in operand.polynomial:
            if len(monomial) > 1:
                self._places.setdefault(monomial, between(first, last))
