"""Exact arithmetic of operands: what a product, a quotient, a power or a root of them is.

A result has no variable in a divisor, and none in a power that is no whole number. Products of two
sums with variables stay out too: a question that needs one multiplied out is not linear as written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import factorial, isqrt
from typing import NamedTuple

from equations.errors import EquationError, NotLinear
from equations.limits import MAX_BITS, MAX_EXPONENT
from equations.linear import Rational, whole
from equations.polynomial import (
    CONSTANT,
    Monomial,
    Polynomial,
    add_into,
    constant,
    constant_of,
    scaled,
    times_monomial,
)
from equations.reading.refusals import Refusal

_MAX_DEGREE = 9
_MAX_FACTORIAL = 20
_LINEAR = "a linear equation"


class Operand(NamedTuple):
    """A polynomial, and what a zero would forget of how it was written."""

    polynomial: Polynomial
    name: str | None = None  # of the first variable in it
    negative: bool = False

    def negated(self) -> Operand:
        return Operand(scaled(self.polynomial, -1), self.name, negative=True)


class Refused(ArithmeticError):
    """An operation without a result here; `refusal` says why."""

    def __init__(
        self, message: str, expected: str, error: type[EquationError] = EquationError
    ) -> None:
        super().__init__(message)
        self.refusal = Refusal(message, expected, error)


def total(terms: list[Operand]) -> Operand:
    """Return the sum of terms. Raises `Refused` where it is too long."""
    result: dict[Monomial, Rational] = {}
    for term in terms:
        add_into(result, term.polynomial)
    _bound(result, "a sum too long")
    name = next((term.name for term in terms if term.name is not None), None)
    return Operand(result, name)


def product(left: Operand, right: Operand) -> Operand:
    """Return the product. Raises `Refused` where both are sums with variables."""
    factor, other = constant_of(left.polynomial), right.polynomial
    if factor is None:
        factor, other = constant_of(right.polynomial), left.polynomial
    if factor is not None:
        result: Polynomial = scaled(other, factor)
    else:
        result = _times_monomial(left.polynomial, right.polynomial)
    _bound(result, "a number too long")
    return Operand(result, left.name or right.name, left.negative != right.negative)


def _times_monomial(left: Polynomial, right: Polynomial) -> Polynomial:
    if len(left) > 1:
        left, right = right, left
    if len(left) > 1:
        raise Refused("a product of two sums with variables", _LINEAR, NotLinear)
    ((monomial, factor),) = left.items()
    result = times_monomial(right, monomial, factor)
    if any(len(each) > _MAX_DEGREE for each in result):
        raise Refused(f"a power over {_MAX_DEGREE}", _LINEAR, NotLinear)
    return result


def quotient(dividend: Operand, divisor: Operand) -> Operand:
    """Return the quotient: by a number, or by a variable that every term of the dividend has."""
    value = constant_of(divisor.polynomial)
    negative = dividend.negative != divisor.negative
    if value is not None:
        if not value:
            raise Refused("division by zero", "a divisor other than zero")
        result = scaled(dividend.polynomial, whole(Fraction(1) / value))
        _bound(result, "a number too long")
        return Operand(result, dividend.name, negative)
    if len(divisor.polynomial) > 1 or not dividend.polynomial:
        raise Refused("division by the variable", _LINEAR, NotLinear)
    ((monomial, factor),) = divisor.polynomial.items()
    cancelled = {
        _without(each, monomial): Fraction(1) * coefficient / factor
        for each, coefficient in dividend.polynomial.items()
    }
    _bound(cancelled, "a number too long")
    return Operand(cancelled, dividend.name, negative)


def _without(monomial: Monomial, divisor: Monomial) -> Monomial:
    left = list(monomial)
    for name in divisor:
        if name not in left:
            raise Refused("division by the variable", _LINEAR, NotLinear)
        left.remove(name)
    return tuple(left)


def power(base: Operand, exponent: int) -> Operand:
    """Return a whole power of a number, or a positive one of a variable."""
    if abs(exponent) > MAX_EXPONENT:
        raise Refused("an exponent too large", f"at most {MAX_EXPONENT}")
    value = constant_of(base.polynomial)
    if value is not None:
        if not value and exponent <= 0:
            raise Refused("a power of zero that has no value", "an exponent of at least 1")
        result = constant(whole(Fraction(value) ** exponent))
        _bound(result, "a number too long")
        return Operand(result, base.name)
    if exponent == 1:
        return base
    if exponent < 1:
        raise Refused("a power of a variable", "an exponent of at least 1", NotLinear)
    if len(base.polynomial) > 1:
        raise Refused("a power of a sum with variables", _LINEAR, NotLinear)
    result_so_far = base.polynomial
    for _ in range(min(exponent, _MAX_DEGREE + 1) - 1):
        result_so_far = _times_monomial(base.polynomial, result_so_far)
    _bound(result_so_far, "a number too long")
    return Operand(result_so_far, base.name)


def root(operand: Operand) -> Operand:
    """Return the square root of a number that has a rational one."""
    value = constant_of(operand.polynomial)
    if value is None:
        raise Refused("a root of the variable", _LINEAR, NotLinear)
    if value < 0:
        raise Refused("a root of a negative number", "a number of at least zero")
    numerator, denominator = isqrt(value.numerator), isqrt(value.denominator)
    if numerator**2 != value.numerator or denominator**2 != value.denominator:
        raise Refused("a root that is not a rational number", "a rational number")
    return Operand(constant(whole(Fraction(numerator, denominator))), operand.name)


def factorial_of(operand: Operand) -> Operand:
    value = constant_of(operand.polynomial)
    if value is None:
        raise Refused("a factorial of the variable", _LINEAR, NotLinear)
    if value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
        expected = f"a whole number from 0 to {_MAX_FACTORIAL}"
        raise Refused("a factorial of such a number", expected)
    return Operand(constant(factorial(int(value))), operand.name)


def percent(operand: Operand) -> Operand:
    return Operand(scaled(operand.polynomial, Fraction(1, 100)), operand.name)


def products_of_variables(
    left: Sequence[Polynomial], right: Sequence[Polynomial]
) -> Mapping[Monomial, Rational]:
    """Return what is not linear in the sum of `left` minus that of `right`."""
    result: dict[Monomial, Rational] = {}
    for side, sign in ((left, 1), (right, -1)):
        for polynomial in side:
            if any(len(monomial) > 1 for monomial in polynomial):
                add_into(result, polynomial, sign)
    return {monomial: value for monomial, value in result.items() if len(monomial) > 1}


def _bound(polynomial: Polynomial, message: str) -> None:
    for value in polynomial.values():
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            raise Refused(message, f"at most {MAX_BITS} bits")


def terms_of(operand: Operand) -> list[tuple[Monomial, Rational]]:
    """Return the terms of an operand, those with variables first."""
    return sorted(operand.polynomial.items(), key=_is_constant)


def _is_constant(term: tuple[Monomial, Rational]) -> bool:
    return term[0] == CONSTANT
