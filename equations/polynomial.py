"""Exact polynomials in several variables, as small as a question needs.

A polynomial maps each monomial to its coefficient, zeros left out. A monomial is the sorted names
of its factors, each as often as its power: `x^2*y` is `("x", "x", "y")`, a constant is `()`.
"""

from __future__ import annotations

from collections.abc import Mapping

from equations.linear import Rational, whole

Monomial = tuple[str, ...]
Polynomial = Mapping[Monomial, Rational]

CONSTANT: Monomial = ()
ZERO: Polynomial = {}


def constant(value: Rational) -> Polynomial:
    return {CONSTANT: value} if value else ZERO


def variable(name: str) -> Polynomial:
    return {(name,): 1}


def constant_of(polynomial: Polynomial) -> Rational | None:
    """Return the value of a polynomial without variables; `None` for any other."""
    if not polynomial:
        return 0
    return polynomial.get(CONSTANT) if len(polynomial) == 1 else None


def add_into(total: dict[Monomial, Rational], polynomial: Polynomial, factor: Rational = 1) -> None:
    """Add `factor * polynomial` to `total`, in place."""
    for monomial, coefficient in polynomial.items():
        added = coefficient if factor == 1 else coefficient * factor
        value = total.get(monomial, 0) + added
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)


def scaled(polynomial: Polynomial, factor: Rational) -> Polynomial:
    if not factor:
        return ZERO
    return {monomial: whole(value * factor) for monomial, value in polynomial.items()}


def times_monomial(polynomial: Polynomial, monomial: Monomial, factor: Rational) -> Polynomial:
    """Return `polynomial * factor * monomial`."""
    return {
        tuple(sorted(own + monomial)): whole(coefficient * factor)
        for own, coefficient in polynomial.items()
    }


def substitute(polynomial: Polynomial, values: Mapping[str, Rational]) -> dict[Monomial, Rational]:
    """Return the polynomial with the variables in `values` replaced by their values."""
    result: dict[Monomial, Rational] = {}
    for monomial, coefficient in polynomial.items():
        factor = coefficient
        for name in monomial:
            factor *= values.get(name, 1)
        left = tuple(name for name in monomial if name not in values)
        add_into(result, {left: factor})
    return result
