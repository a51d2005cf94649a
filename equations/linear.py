"""Exact linear forms and equations made of them, and their wording in the dataset.

A `Linear` is `coefficient * x + constant` over the rationals; an `Equation` keeps the terms of its
two sides in the order in which they were written, because that is what a model reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import NamedTuple

# Whole numbers stay `int`, at a tenth of the cost; both have a numerator and a denominator.
Rational = int | Fraction


def whole(number: Rational) -> Rational:
    """The same number, as an `int` where it is one."""
    return number.numerator if number.denominator == 1 else number


class Linear(NamedTuple):
    """`coefficient * x + constant`, exact."""

    coefficient: Rational
    constant: Rational


class Term(NamedTuple):
    """`size * x` if `is_coefficient`, else the constant `size`; subtracted if `negative`.

    The sign stands apart because the dataset writes `-0` and means it when wordings are compared.
    `multiplier` is a second factor, not negative, that is still to be multiplied in: `3*14*x`.
    """

    size: Rational
    is_coefficient: bool
    negative: bool
    multiplier: int = 1

    @classmethod
    def of(cls, value: Rational, *, is_coefficient: bool) -> Term:
        negative = value < 0
        return cls(-value if negative else value, is_coefficient, negative)

    @classmethod
    def product(cls, one: int, other: int, *, is_coefficient: bool) -> Term:
        """Return the product of two numbers as a term, the shorter one as multiplier."""
        multiplier, size = sorted((abs(one), abs(other)))
        if not multiplier:
            return cls(0, is_coefficient, negative=False)
        return cls(size, is_coefficient, (one < 0) != (other < 0), multiplier)

    @property
    def value(self) -> Rational:
        size = whole(self.size * self.multiplier)
        return -size if self.negative else size


@dataclass(frozen=True)
class Equation:
    """Two sums of terms, each in written order, said to be equal. An empty side is zero."""

    left: tuple[Term, ...]
    right: tuple[Term, ...]
    variable: str

    def net(self) -> Linear:
        """Left side minus right side: the equation holds exactly where this is zero.

        Added up in whole parts of the common denominator, which costs a tenth of fractions.
        """
        common = self.common_denominator()
        coefficient = constant = 0
        for side, sign in ((self.left, 1), (self.right, -1)):
            for size, is_coefficient, negative, multiplier in side:
                parts = size.numerator * (common // size.denominator) * multiplier
                signed = -sign * parts if negative else sign * parts
                if is_coefficient:
                    coefficient += signed
                else:
                    constant += signed
        if common == 1:
            return Linear(coefficient, constant)
        return Linear(Fraction(coefficient, common), Fraction(constant, common))

    def solution(self) -> Fraction | None:
        """The one solution; `None` where there is none or every number is one."""
        net = self.net()
        return None if net.coefficient == 0 else Fraction(-net.constant, net.coefficient)

    def common_denominator(self) -> int:
        return lcm(*(term.size.denominator for term in (*self.left, *self.right)))

    def with_integers(self) -> Equation:
        """The same equation multiplied by the least number that clears every denominator."""
        factor = self.common_denominator()
        if factor == 1:
            return self
        left, right = (
            tuple(term._replace(size=whole(term.size * factor)) for term in side)
            for side in (self.left, self.right)
        )
        return Equation(left, right, self.variable)


def render(equation: Equation) -> str:
    """The equation in the dataset's wording: `24 = 1601*c - 1605*c`.

    Its terms must be integers (`Equation.with_integers`); the inverse of `parser.parse` on them.
    """
    left, right = (_side(terms, equation.variable) for terms in (equation.left, equation.right))
    return f"{left} = {right}"


def render_question(equation: Equation) -> str:
    """The question in the dataset's wording: `Solve 24 = 1601*c - 1605*c for c.`"""
    return f"Solve {render(equation)} for {equation.variable}."


def _side(terms: tuple[Term, ...], variable: str) -> str:
    if not terms:
        return "0"
    words: list[str] = []
    for term in terms:
        if words:
            words.append("-" if term.negative else "+")
            words.append(_magnitude(term, variable))
        else:
            words.append(("-" if term.negative else "") + _magnitude(term, variable))
    return " ".join(words)


def _magnitude(term: Term, variable: str) -> str:
    size = str(term.size) if term.multiplier == 1 else f"{term.multiplier}*{term.size}"
    if not term.is_coefficient:
        return size
    return variable if size == "1" else f"{size}*{variable}"
