"""Rows of a linear system, and which of them to combine. Decides; computes no product or sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from equations.linear import Equation, Term
from equations.system import Product, SystemEquation, render_equation


@dataclass(frozen=True, eq=False)
class Row:
    """`sum(coefficients[name] * name) = constant`, no coefficient zero."""

    coefficients: dict[str, int]
    constant: int

    def equation(self) -> SystemEquation:
        left = tuple(
            Product(abs(value), (name,), value < 0) for name, value in self.coefficients.items()
        )
        right = (Product(abs(self.constant), (), self.constant < 0),)
        return SystemEquation(left, right)

    def __str__(self) -> str:
        return render_equation(self.equation())

    def one_variable(self) -> Equation:
        """Return the equation of a row with one unknown."""
        ((name, value),) = self.coefficients.items()
        right = Term.of(self.constant, is_coefficient=False)
        return Equation((Term.of(value, is_coefficient=True),), (right,), name)

    def names_without(self, other: Row, name: str) -> list[str]:
        """Return the unknowns of this row and `other` once `name` is eliminated."""
        return [key for key in {**self.coefficients, **other.coefficients} if key != name]

    def eliminated(self, other: Row, name: str, kept: str) -> Equation:
        """Return what `self` and `other` say of `kept` without `name`, as products:
        `(a1*b2 - a2*b1) kept = c1*b2 - c2*b1`, with `b` the coefficients of `name`.
        """
        b1, b2 = self.coefficients[name], other.coefficients[name]
        a1, a2 = self.coefficients.get(kept, 0), other.coefficients.get(kept, 0)
        left = (a1, b2), (-a2, b1)
        right = (self.constant, b2), (-other.constant, b1)
        return Equation(
            tuple(Term.product(*pair, is_coefficient=True) for pair in left if all(pair)),
            tuple(Term.product(*pair, is_coefficient=False) for pair in right if all(pair)),
            kept,
        )


def determined_block(rows: Sequence[tuple[int, list[str]]]) -> list[int]:
    """Return the numbers of equations that share unknowns and are enough to determine them.

    `rows` gives each equation's number and its unknowns. Where no such set of equations is enough,
    the largest one is returned, which may still fix some of its unknowns; none for no rows.
    """
    blocks: list[tuple[list[int], set[str]]] = []
    for number, names in rows:
        joined = [block for block in blocks if block[1] & set(names)]
        blocks = [block for block in blocks if block not in joined]
        numbers = sorted([number, *(n for block in joined for n in block[0])])
        blocks.append((numbers, set(names).union(*(block[1] for block in joined))))
    blocks.sort(key=lambda block: (len(block[0]) < len(block[1]), len(block[1]), block[0]))
    enough = [block for block in blocks if len(block[0]) >= len(block[1])]
    chosen = enough[:1] or sorted(blocks, key=lambda block: -len(block[0]))[:1]
    return chosen[0][0] if chosen and len(chosen[0][0]) > 1 else []


def choose_pivot(rows: Sequence[Row], wanted: Sequence[str]) -> tuple[Row, str] | None:
    """Return a row and the unknown to eliminate with it, preferably one that nobody asked for.

    `None` where no unknown is in two rows.
    """
    choices = [
        (name in wanted, len(row.coefficients), number, name)
        for number, row in enumerate(rows)
        for name in row.coefficients
        if sum(name in other.coefficients for other in rows) > 1
    ]
    if not choices:
        return None
    _, _, number, name = min(choices)
    return rows[number], name
