"""Run the DeepMind generator's `linear_1d` with today's sympy, and build longer questions from it.

All functions draw from the global states of `random` and `numpy.random`, as the generator does.

Source: Saxton et al. 2019, "Analysing mathematical reasoning abilities of neural models".
"""

from __future__ import annotations

import importlib
import random
import string
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from equations.linear import Equation, Term, render_question
from equations.parser import parse

# What training has: at most 5 terms with the variable, 4 without, and 5 in all.
MORE_TERMS = range(6, 9)  # of each kind
_SOLUTION_SHARE = 1 / 4  # of the entropy, as the generator shares it out

Pair = tuple[str, str]  # question, answer


def dataset(low: float, high: float, module: str = "linear_1d") -> Callable[[], Pair]:
    """Return a sampler of `algebra__<module>`, with entropy uniform in [`low`, `high`]."""
    make = _module("modules.algebra").train(lambda _: (low, high))[module]

    def sample() -> Pair:
        problem = make()
        return str(problem.question), str(problem.answer)

    return sample


def more_terms(low: float, high: float) -> Callable[[], Pair]:
    """Return a sampler of questions with 6 to 8 terms of each kind, and numbers as in `linear_1d`.

    A question is the sum of a few of the generator's equations with the same solution. Its terms
    therefore have the generator's own distribution; only their number is new.
    """

    def sample() -> Pair:
        while True:
            entropy = random.uniform(low, high)
            share = max(1.0, entropy * _SOLUTION_SHARE)
            solution = _module("sample.number").integer(share, signed=True)
            equation = _sum_of_equations(int(solution), entropy - share)
            if equation is not None and equation.solution() == solution:
                return render_question(equation), str(solution)

    return sample


def _sum_of_equations(solution: int, entropy: float) -> Equation | None:
    """Add up equations with this solution; return `None` if the number of terms does not fit."""
    variable = random.choice(sorted(_letters()))
    left: list[Term] = []
    right: list[Term] = []
    while True:
        equation = _equation(variable, solution, entropy)
        # The zero that stands for an empty side is not a term of the sum.
        left += [term for term in equation.left if term.size]
        right += [term for term in equation.right if term.size]
        counts = [
            sum(term.is_coefficient == kind for term in (*left, *right)) for kind in (True, False)
        ]
        if max(counts) > MORE_TERMS[-1]:
            return None
        if min(counts) in MORE_TERMS:
            random.shuffle(left)
            random.shuffle(right)
            return Equation(tuple(left), tuple(right), variable)


def _equation(variable: str, solution: int, entropy: float) -> Equation:
    symbol = importlib.import_module("sympy").Symbol(variable)
    system = _module("sample.linear_system").linear_system
    (equation,) = system(variables=[symbol], solutions=[solution], entropy=max(1.0, entropy))
    return parse(str(equation))


class _InOrder(set[str]):
    """A set that iterates in sorted order.

    The generator takes a random element of a set of letters. The order of a plain set differs in
    every process, so that one seed named its variables differently in each run.
    """

    def difference(self, *others: Any) -> _InOrder:
        return _InOrder(super().difference(*others))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(super().__iter__()))


def _letters() -> _InOrder:
    return _InOrder(string.ascii_lowercase).difference("e")


@cache
def _module(name: str) -> Any:
    """Import a module of the generator with today's sympy.

    The generator imports `base_solution_linear` from the package `sympy.solvers.diophantine`; newer
    versions have it only in a sub-module of the same name.
    """
    importlib.import_module("sympy.solvers.diophantine")
    package = sys.modules["sympy.solvers.diophantine"]
    module = importlib.import_module("sympy.solvers.diophantine.diophantine")
    package.base_solution_linear = module.base_solution_linear  # type: ignore[attr-defined]
    composition = importlib.import_module("mathematics_dataset.util.composition")
    composition._ALLOWED_SYMBOLS = _letters()  # type: ignore[attr-defined]
    return importlib.import_module(f"mathematics_dataset.{name}")
