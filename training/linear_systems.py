"""The linear systems of the DeepMind generator, sampled without sympy: 100 times as fast.

The same distribution as `mathematics_dataset.sample.linear_system` (held to it by a test), from a
`random.Random` of the caller's; for training alone. Questions that models are scored on come from
the generator itself (`training.generator`).

Source: Saxton et al. 2019, "Analysing mathematical reasoning abilities of neural models".
"""

from __future__ import annotations

from math import ceil, log10
from random import Random
from typing import NamedTuple

from equations.linear import Equation, Term

CONSTANT = -1  # the variable of a term without one
_SOLUTION_SHARE = 1 / 4  # of the entropy


class Monomial(NamedTuple):
    """A term of an equation in several variables, on the side where it stands."""

    value: int
    negative: bool  # apart from the value, for the zeros
    variable: int  # its number, or CONSTANT
    on_left: bool


def linear_1d(entropy: float, random: Random) -> Equation:
    """A question as `algebra__linear_1d` has them."""
    share = max(1.0, entropy * _SOLUTION_SHARE)
    solution = integer(share, random)
    (monomials,) = linear_system([solution], max(1.0, entropy - share), random)
    left, right = (
        tuple(
            Term(abs(m.value), m.variable != CONSTANT, m.negative)
            for m in monomials
            if m.on_left == on_left
        )
        for on_left in (True, False)
    )
    return Equation(left, right, "x")


def linear_2d(entropy: float, random: Random) -> list[list[Monomial]]:
    """The two equations of a question as `algebra__linear_2d` has them, in the variables 0, 1."""
    shares = [max(1.0, entropy * _SOLUTION_SHARE * share) for share in _simplex([1, 1], random)]
    solutions = [integer(share, random) for share in shares]
    return linear_system(solutions, max(1.0, entropy - sum(shares)), random)


def integer(entropy: float, random: Random) -> int:
    """A whole number of either sign, from about 10 ** `entropy` of them."""
    most = ceil(10**entropy / 2)
    return random.randint(-most, most)


def linear_system(solutions: list[int], entropy: float, random: Random) -> list[list[Monomial]]:
    """Equations in as many variables as there are solutions (one or two)."""
    degree = len(solutions)
    matrix_share = random.uniform(1 / 3, 2 / 3)
    matrix = _invertible(degree, entropy * matrix_share, random)
    constants = [sum(a * x for a, x in zip(row, solutions, strict=True)) for row in matrix]
    values = [value for row in matrix for value in row] + constants
    at_least = sum(value != 0 for value in values) + 1
    length = random.randint(at_least, max(at_least, 1 + int(degree * (1 + entropy / 2))))
    counts = _counts(length, [value == 0 for value in values], random)
    shares = _simplex([count - 1 for count in counts], random)
    terms = [
        _with_sum(value, count, (1 - matrix_share) * entropy * share, random)
        for value, count, share in zip(values, counts, shares, strict=True)
    ]
    return [_equation(terms, degree, row, random) for row in range(degree)]


def _equation(terms: list[list[int]], degree: int, row: int, random: Random) -> list[Monomial]:
    written = [
        (value, variable) for variable in range(degree) for value in terms[row * degree + variable]
    ] + [(-value, CONSTANT) for value in terms[degree * degree + row]]
    monomials = []
    for value, variable in written:
        on_left = random.random() < 0.5
        monomials.append(Monomial(abs(value), (value < 0) == on_left, variable, on_left))
    return monomials


def _invertible(degree: int, entropy: float, random: Random) -> list[list[int]]:
    shares = _simplex([1] * degree**2, random)
    while True:
        flat = [integer(max(1.0, entropy * share), random) for share in shares]
        if degree == 1 and flat[0]:
            return [flat]
        # Not trivial in the first variable: no equation may hold it alone.
        if degree == 2 and flat[1] and flat[3] and flat[0] * flat[3] != flat[1] * flat[2]:
            return [flat[:2], flat[2:]]


def _counts(length: int, zero: list[bool], random: Random) -> list[int]:
    """Return the number of terms that each value is written as; a zero is not written as one."""
    counts = [0 if is_zero else 1 for is_zero in zero]
    extra = length - sum(counts)
    places = sorted(random.sample(range(1, extra + len(zero)), len(zero) - 1))
    for i, (low, high) in enumerate(zip([0, *places], [*places, extra + len(zero)], strict=True)):
        counts[i] += high - low - 1
    while bad := [i for i, is_zero in enumerate(zero) if is_zero and counts[i] == 1]:
        giver = random.choice(bad)
        taker = random.choice([i for i, n in enumerate(counts) if n >= 1 and i != giver])
        counts[giver] -= 1
        counts[taker] += 1
    return counts


def _with_sum(value: int, count: int, entropy: float, random: Random) -> list[int]:
    if count < 2:
        return [value] * count
    entropy *= count / (count - 1)
    least = max(1.0, _entropy_of(ceil(value / count)))
    terms = [
        integer(max(least, entropy * share), random) for share in _simplex([1] * count, random)
    ]
    missing = value - sum(terms)
    terms = [term + (missing + i) // count for i, term in enumerate(terms)]
    random.shuffle(terms)
    return terms


def _entropy_of(value: int) -> float:
    return log10(5 * abs(value) + 1)


def _simplex(alphas: list[int], random: Random) -> list[float]:
    """A Dirichlet sample; a part whose weight is not positive is 0."""
    parts = [random.gammavariate(a, 1) if a > 0 else 0.0 for a in alphas]
    total = sum(parts) or 1.0
    return [part / total for part in parts]
