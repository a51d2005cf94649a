"""Generate what the small model learns from: questions of every kind that it is asked.

Most are short. Every length up to the longest that the prompt holds occurs, because a small model
does not go beyond the lengths it has seen.
"""

from __future__ import annotations

from collections.abc import Callable
from math import lcm
from random import Random
from typing import NamedTuple

from equations.linear import Equation, Term
from equations.prompt import MULTIPLIER_PLACES, PLACES, TERMS
from training import linear_systems
from training.linear_systems import CONSTANT, Monomial


class Question(NamedTuple):
    """An equation with integer terms, and whether to divide or to write its sums alone."""

    equation: Equation
    divide: bool = True


def sample(random: Random) -> Question:
    """A question of the mixture."""
    (family,) = random.choices(_FAMILIES, _SHARES)
    return family(random)


# -- the dataset -----------------------------------------------------------------------------------


def _dataset(random: Random) -> Question:
    return Question(linear_systems.linear_1d(random.uniform(3, 10), random))


def _test_like(random: Random) -> Question:
    return Question(linear_systems.linear_1d(random.uniform(7, 10), random))


def _beyond(random: Random) -> Question:
    return Question(linear_systems.linear_1d(random.uniform(10, 13.5), random))


# -- as people set them ----------------------------------------------------------------------------


def _textbook(random: Random) -> Question:
    """Few terms of any size; seldom a whole solution."""
    most = random.choice((9, 20, 99, 999, 10 ** random.randint(3, 6)))
    counts = random.randint(1, 3), random.randint(0, 3)
    return Question(
        _equation(
            [_up_to(most, random) for _ in range(counts[0])],
            [_up_to(most, random) for _ in range(counts[1])],
            random,
        )
    )


def _cleared_fractions(random: Random) -> Question:
    """An equation with fractions or decimals, multiplied by their common denominator."""
    if random.random() < 0.5:
        denominators = [random.randint(1, random.choice((6, 12, 30))) for _ in range(6)]
    else:
        denominators = [10 ** random.randint(0, random.choice((1, 2, 3, 4))) for _ in range(6)]
    most = random.choice((9, 99, 999, 9_999))
    counts = random.randint(1, 3), random.randint(0, 3)
    used = denominators[: sum(counts)]
    common = lcm(*used)
    numbers = [_up_to(most, random) * (common // denominator) for denominator in used]
    if random.random() < 0.5 and counts[1]:  # a whole or short decimal solution
        solution = _up_to(random.choice((9, 99, 999)), random)
        scale = random.choice((1, 1, 2, 5, 10, 100))
        numbers = [number * scale for number in numbers]
        total = sum(numbers[: counts[0]]) // scale * solution
        numbers[-1] = total - sum(numbers[counts[0] : -1])
    return Question(_equation(numbers[: counts[0]], numbers[counts[0] :], random))


def _nearly_whole(random: Random) -> Question:
    """A division that leaves nothing, or a remainder whose last digit does not show it."""
    coefficient = _of_digits(random.choice((1, 2, 2, 3, 3, 4, 5, 6)), random)
    if random.random() < 0.4:
        coefficient = 10 * (coefficient // 10 or 1)
    constant = coefficient * _up_to(random.choice((2, 9, 99, 999, 99_999)), random)
    if random.random() < 0.7:
        unseen = 10 ** random.choice((1, 1, 1, 2, 3))  # what the last digits do not show
        constant += unseen * _up_to(max(1, abs(coefficient) // (2 * unseen)), random)
    counts = random.choice((1, 1, 2)), random.choice((1, 1, 2))
    xs, ks = (
        _split(total, n, random) for total, n in zip((coefficient, constant), counts, strict=True)
    )
    return Question(_equation(xs, ks, random))


def _large(random: Random) -> Question:
    """Numbers of up to 12 digits, and whole solutions as long."""
    if random.random() < 0.3:  # of any lengths, both of 12 digits too
        coefficient, constant = (_of_digits(random.randint(1, PLACES), random) for _ in range(2))
    else:
        solution = _of_digits(random.randint(1, PLACES - 1), random)
        room = PLACES - len(str(abs(solution)))
        coefficient = _of_digits(random.randint(1, room), random)
        constant = coefficient * solution
        if random.random() < 0.15:
            constant += random.randint(1, abs(coefficient))
    xs, ks = (_split(total, random.randint(1, 3), random) for total in (coefficient, constant))
    return Question(_equation(xs, ks, random))


def _many_terms(random: Random) -> Question:
    """Up to 16 terms of a kind."""
    coefficients, constants = random.randint(1, TERMS), random.randint(1, TERMS)
    if random.random() < 0.5:
        coefficients, constants = sorted((coefficients, constants))[:1] * 2
    digits = random.choice((1, 2, 2, 3, 3, 4, 5, 7)) if coefficients + constants > 8 else 8
    xs = [_of_digits(random.randint(1, digits), random) for _ in range(coefficients)]
    ks = [_of_digits(random.randint(1, digits), random) for _ in range(constants)]
    if random.random() < 0.7:
        ks[-1] = sum(xs) * _up_to(random.choice((9, 99, 999)), random) - sum(ks[:-1])
    return Question(_equation(xs, ks, random))


# -- steps of systems ------------------------------------------------------------------------------


def _sums(random: Random) -> Question:
    """Two net sums of the terms of a system's equations."""
    if random.random() < 0.7:
        monomials = [
            m for row in linear_systems.linear_2d(random.uniform(3, 12), random) for m in row
        ]
        groups = [[m for m in monomials if m.variable == variable] for variable in (0, 1, CONSTANT)]
        xs, ks = random.sample(groups, 2)
        return Question(_of_monomials(xs, ks), divide=False)
    equation = (_elimination if random.random() < 0.5 else _many_terms)(random).equation
    return Question(equation, divide=False)


def _elimination(random: Random) -> Question:
    """`(a1*b2 - a2*b1) x = c1*b2 - c2*b1`, for two equations `a x + b y = c`."""
    if random.random() < 0.75:
        rows = linear_systems.linear_2d(random.uniform(3, 12), random)
        nets = [[_net(row, variable) for variable in (0, 1, CONSTANT)] for row in rows]
    else:
        digits = random.choice((1, 2, 3, 4, 5))
        nets = [[_of_digits(random.randint(1, digits), random) for _ in range(3)] for _ in (0, 1)]
    (a1, b1, c1), (a2, b2, c2) = nets
    if random.random() < 0.5:
        a1, b1, a2, b2 = b1, a1, b2, a2
    products = (a1, b2), (-a2, b1), (c1, b2), (-c2, b1)
    xs = [Term.product(*pair, is_coefficient=True) for pair in products[:2]]
    ks = [Term.product(*pair, is_coefficient=False) for pair in products[2:]]
    return Question(Equation(tuple(xs), tuple(ks), "x"))


def _substitution(random: Random) -> Question:
    """An equation with one more value to put in: a product among plain terms."""
    equation = linear_systems.linear_1d(random.uniform(3, 10), random)
    solution = equation.solution()
    sides = [list(equation.left), list(equation.right)]
    for _ in range(random.choice((1, 1, 2))):
        value, factor = _up_to(10 ** random.randint(1, 3), random), _up_to(999, random)
        is_coefficient = random.random() < 0.2
        side = random.choice(sides)
        term = Term.product(value, factor, is_coefficient=is_coefficient)
        side.insert(random.randint(0, len(side)), term)
        if solution is not None and random.random() < 0.7:  # keep the solution
            moved = value * factor * (int(solution) if is_coefficient else 1)
            side.append(Term.of(-moved, is_coefficient=False))
    scale = random.choice((1, 1, 1, random.randint(2, 99)))
    left, right = (
        tuple(
            term._replace(multiplier=scale) if term.multiplier == 1 and scale > 1 else term
            for term in side
        )
        for side in sides
    )
    return Question(Equation(left, right, "x"))


def _products(random: Random) -> Question:
    """A few products of any size, whatever they come from."""
    digits = random.randint(1, MULTIPLIER_PLACES)
    terms = []
    for _ in range(random.randint(1, 4)):
        multiplier = abs(_of_digits(random.randint(1, digits), random))
        size = _of_digits(random.randint(1, 11 - digits), random)
        term = Term.of(size, is_coefficient=random.random() < 0.5)
        terms.append(term._replace(multiplier=random.choice((1, multiplier, multiplier))))
    cut = random.randint(0, len(terms))
    return Question(Equation(tuple(terms[:cut]), tuple(terms[cut:]), "x"))


def _degenerate(random: Random) -> Question:
    """Without a solution or with every number for one, or with a solution of zero."""
    xs = [_of_digits(random.randint(1, 4), random) for _ in range(random.randint(1, 3))]
    ks = [_of_digits(random.randint(1, 4), random) for _ in range(random.randint(0, 3))]
    if random.random() < 0.7:
        xs.append(-sum(xs))
    if random.random() < 0.5:
        ks.append(-sum(ks))
    return Question(_equation(xs, ks, random), divide=random.random() < 0.8)


_MIXTURE: list[tuple[Callable[[Random], Question], float]] = [
    (_dataset, 0.09),
    (_test_like, 0.12),
    (_beyond, 0.07),
    (_textbook, 0.11),
    (_cleared_fractions, 0.12),
    (_nearly_whole, 0.06),
    (_large, 0.14),
    (_many_terms, 0.14),
    (_sums, 0.03),
    (_elimination, 0.04),
    (_substitution, 0.04),
    (_products, 0.03),
    (_degenerate, 0.01),
]
_FAMILIES = [family for family, _ in _MIXTURE]
_SHARES = [share for _, share in _MIXTURE]


# -- numbers and terms -----------------------------------------------------------------------------


def _up_to(most: int, random: Random) -> int:
    return random.choice((-1, 1)) * random.randint(1, most)


def _of_digits(digits: int, random: Random) -> int:
    """A whole number of so many digits, or of so many with trailing zeros."""
    number = random.randint(10 ** (digits - 1), 10**digits - 1)
    if random.random() < 0.1:
        number = max(1, number // 10 ** (digits // 2)) * 10 ** (digits // 2)
    return random.choice((-1, 1)) * number


def _split(total: int, count: int, random: Random) -> list[int]:
    """`count` numbers that sum to `total`."""
    size = max(9, abs(total))
    parts = [_up_to(random.choice((size, min(size, 999))), random) for _ in range(count - 1)]
    return [*parts, total - sum(parts)]


def _equation(coefficients: list[int], constants: list[int], random: Random) -> Equation:
    """`sum(coefficients) x = sum(constants)`, its terms shuffled over both sides."""
    sides: tuple[list[Term], list[Term]] = ([], [])
    for values, is_coefficient in ((coefficients, True), (constants, False)):
        for value in values:
            on_left = random.random() < 0.5
            signed = value if on_left == is_coefficient else -value
            sides[0 if on_left else 1].append(Term.of(signed, is_coefficient=is_coefficient))
    if random.random() < 0.5:
        for side in sides:
            random.shuffle(side)
    return Equation(tuple(sides[0]), tuple(sides[1]), "x")


def _of_monomials(xs: list[Monomial], ks: list[Monomial]) -> Equation:
    sides: tuple[list[Term], list[Term]] = ([], [])
    for monomials, is_coefficient in ((xs, True), (ks, False)):
        for m in monomials:
            sides[0 if m.on_left else 1].append(Term(m.value, is_coefficient, m.negative))
    return Equation(tuple(sides[0]), tuple(sides[1]), "x")


def _net(row: list[Monomial], variable: int) -> int:
    """The net coefficient of a variable on the left side, or the net constant on the right one."""
    total = 0
    for m in row:
        if m.variable == variable:
            total += -m.value if m.negative != (not m.on_left) else m.value
    return -total if variable == CONSTANT else total
