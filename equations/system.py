"""Systems of equations in several variables: wording, exact solution, verification.

An equation of a system keeps its terms in the order in which they were written, as
`linear.Equation` does, but a term may hold any variable, or a product of variables. Such products
are what composed questions are made of: `Suppose 3*b - 5 = 10. Solve b*x = 15 for x.` is linear
once b is known. So a system is solved in stages: the equations that are linear give the values that
they determine, these values are put into the others, and so on. What no stage makes linear is
`Nonlinear`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import lcm
from typing import NamedTuple

from equations.linear import Rational, whole
from equations.polynomial import CONSTANT, Monomial, Polynomial, add_into, substitute
from equations.verify import Verdict, Verification, read_answer


class Product(NamedTuple):
    """One term: `size` times its variables, subtracted if `negative`; a constant has no variables.

    The sign stands apart for the reason that it does in `linear.Term`.
    """

    size: Rational
    variables: Monomial
    negative: bool

    @property
    def value(self) -> Rational:
        return -self.size if self.negative else self.size


@dataclass(frozen=True)
class SystemEquation:
    """Two sums of terms, each in written order, said to be equal. An empty side is zero."""

    left: tuple[Product, ...]
    right: tuple[Product, ...]

    def net(self) -> Polynomial:
        """Return left side minus right side."""
        total: dict[Monomial, Rational] = {}
        for side, sign in ((self.left, 1), (self.right, -1)):
            for term in side:
                add_into(total, {term.variables: term.value}, sign)
        return total

    def variables(self) -> list[str]:
        """Return the names of the variables, in the order in which they first occur."""
        terms = (*self.left, *self.right)
        return list(dict.fromkeys(name for term in terms for name in term.variables))

    def common_denominator(self) -> int:
        return lcm(*(term.size.denominator for term in (*self.left, *self.right)))

    def with_integers(self) -> SystemEquation:
        """Return the equation multiplied by the least number that clears every denominator."""
        factor = self.common_denominator()
        if factor == 1:
            return self
        left, right = (
            tuple(term._replace(size=whole(term.size * factor)) for term in side)
            for side in (self.left, self.right)
        )
        return SystemEquation(left, right)


class Outcome(StrEnum):
    """The number of solutions of a system."""

    UNIQUE = "one solution"
    NONE = "no solution"
    INFINITE = "infinitely many solutions"


@dataclass(frozen=True)
class Solutions:
    """The solutions of a system. `values` has the variables with exactly one value.

    With `Outcome.INFINITE` some variables may still have one; with `Outcome.NONE` none has.
    """

    outcome: Outcome
    values: Mapping[str, Fraction]


class Nonlinear(ValueError):
    """A system with a product of variables of which at least two stay unknown."""

    def __init__(self, product: Monomial) -> None:
        super().__init__(f"{'*'.join(product)} is a product of unknown variables")
        self.product = product


@dataclass(frozen=True)
class System:
    """Equations that hold together, in written order."""

    equations: tuple[SystemEquation, ...]

    def variables(self) -> list[str]:
        """Return the names of the variables, in the order in which they first occur."""
        return list(dict.fromkeys(name for e in self.equations for name in e.variables()))

    def with_integers(self) -> System:
        return System(tuple(equation.with_integers() for equation in self.equations))

    def solve(self) -> Solutions:
        """Return what the equations determine, exactly. Raises `Nonlinear`."""
        values: dict[str, Rational] = {}
        given = [equation.net() for equation in self.equations]
        while True:
            nets = [substitute(net, values) for net in given]
            linear = [net for net in nets if all(len(monomial) < 2 for monomial in net)]
            found = _determined(linear)
            if found is None:
                return Solutions(Outcome.NONE, {})
            values |= found
            if len(linear) == len(nets):
                exact = {
                    name: Fraction(values[name]) for name in self.variables() if name in values
                }
                free = len(exact) < len(self.variables())
                return Solutions(Outcome.INFINITE if free else Outcome.UNIQUE, exact)
            if not found:
                raise Nonlinear(next(m for net in nets for m in net if len(m) > 1))


def _determined(nets: list[dict[Monomial, Rational]]) -> dict[str, Rational] | None:
    """Return the variables that linear equations `net = 0` fix; `None` if no values satisfy all.

    Gauss-Jordan elimination: `rows` maps the variable that a row is solved for to the row, and no
    row holds the variable of another.
    """
    rows: dict[Monomial, dict[Monomial, Rational]] = {}
    for net in nets:
        row = dict(net)
        for variable in [m for m in row if m in rows]:
            add_into(row, rows[variable], -row[variable])
        pivot = next((monomial for monomial in row if monomial != CONSTANT), None)
        if pivot is None:
            if row:
                return None
            continue
        inverse = Fraction(1) / row[pivot]
        row = {monomial: whole(value * inverse) for monomial, value in row.items()}
        for other in rows.values():
            if pivot in other:
                add_into(other, row, -other[pivot])
        rows[pivot] = row
    return {
        pivot[0]: -row.get(CONSTANT, 0)
        for pivot, row in rows.items()
        if not row.keys() - {pivot, CONSTANT}
    }


def verify_values(system: System, values: Mapping[str, str]) -> Verification:
    """Judge answers, one for each variable in `values`, against the whole system.

    Without a solution, or where a variable in `values` has no single value, every answer is
    unverifiable. Raises `Nonlinear`, and `KeyError` for a variable that the system does not have.
    """
    solutions = system.solve()
    if solutions.outcome is Outcome.NONE:
        return Verification(Verdict.UNVERIFIABLE, Outcome.NONE.value)
    if unknown := values.keys() - set(system.variables()):
        raise KeyError(min(unknown))
    if values.keys() - solutions.values.keys():
        return Verification(Verdict.UNVERIFIABLE, Outcome.INFINITE.value)
    numbers = {name: read_answer(text) for name, text in values.items()}
    if None in numbers.values():
        return Verification(Verdict.WRONG, "the answer is not a number")
    right = all(numbers[name] == solutions.values[name] for name in numbers)
    return Verification(Verdict.CORRECT if right else Verdict.WRONG)


def render_equation(equation: SystemEquation) -> str:
    """Return the equation in the dataset's wording: `2541*u + 5*j = 2538*u - 22`.

    Its terms must be integers.
    """
    return f"{_side(equation.left)} = {_side(equation.right)}"


def render_system(system: System) -> str:
    """Return the equations in the dataset's wording, separated by commas."""
    return ", ".join(map(render_equation, system.equations))


def _side(terms: tuple[Product, ...]) -> str:
    if not terms:
        return "0"
    words: list[str] = []
    for term in terms:
        if words:
            words += ["-" if term.negative else "+", _magnitude(term)]
        else:
            words.append(("-" if term.negative else "") + _magnitude(term))
    return " ".join(words)


def _magnitude(term: Product) -> str:
    if not term.variables:
        return str(term.size)
    factors = "*".join(term.variables)
    return factors if term.size == 1 else f"{term.size}*{factors}"
