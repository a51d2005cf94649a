"""Plan the questions to a model that solves equations in one variable, to solve a system.

The planner decides what is asked next and where each result goes; it computes none of the results.
Every sum, product, elimination and division is a question to the model. The caller drives it:

    planning = planner.plan(question.system, question.asked)
    steps = next(planning)                      # independent questions: ask them all at once
    while True:
        works = [work.read(text) for text in ...]   # what the model wrote for `step.prompt()`
        try:
            steps = planning.send(works)
        except StopIteration as end:
            planned = end.value                 # a `Planned`: values, lines of work, or a reason
            break

`steps.Step.correct` judges what the model wrote for a step exactly, so that a caller can ask again
before it goes on; the planner takes what it is sent. One equation in one variable is one step.

`rehearse` runs a plan with exact steps, for what can be known of it before a model is asked.

How a system is solved: an equation with one unknown is a question as it stands. Two such equations
in one variable are two questions, and the system has no solution if their answers differ. A value
found is put into the other equations as a factor of its terms, which the model multiplies in. Where
every equation has several unknowns, the model writes the net sums of each (`Step.divide` is false:
two sums a question), and `a1 x + b1 y = c1`, `a2 x + b2 y = c2` becomes the question
`(a1*b2 - a2*b1) x = c1*b2 - c2*b1`. With more than two unknowns the same products are net sums.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from equations.elimination import Row, choose_pivot, determined_block
from equations.linear import Equation, Term
from equations.steps import Step, Sum, sums_step
from equations.system import Outcome, Product, System, SystemEquation
from equations.work import Work

NO_ANSWER = "the model gave no answer"
NONLINEAR = "a product of unknown variables"


@dataclass(frozen=True)
class Planned:
    """The values that the model found. `reason` says why one that was asked for is missing."""

    values: dict[str, Fraction]
    lines: list[str]  # the work for a person
    reason: str | None = None


Planning = Generator[list[Step], Sequence[Work], Planned]


def plan(system: System, asked: str | None = None) -> Planning:
    """Yield steps, expect the works that the model wrote for them, and return what came of it.

    `asked` is the variable whose value is wanted; `None` asks for all.
    """
    return _Plan(system, asked).run()


def rehearse(system: System, asked: str | None = None) -> tuple[Planned, list[Step]]:
    """Return what a plan comes to where every step is right, and the steps that it takes."""
    planning = plan(system, asked)
    taken: list[Step] = []
    try:
        steps = next(planning)
        while True:
            taken += steps
            steps = planning.send([step.exact() for step in steps])
    except StopIteration as end:
        return end.value, taken


class _Stop(Exception):
    """No further step can find what is asked for."""


class _Plan:
    def __init__(self, system: System, asked: str | None) -> None:
        self._equations = list(system.with_integers().equations)
        self._wanted = system.variables() if asked is None else [asked]
        self._values: dict[str, Fraction] = {}
        self._lines: list[str] = []

    def run(self) -> Planning:
        reason = None
        try:
            while any(name not in self._values for name in self._wanted):
                yield from self._find_more()
        except _Stop as stop:
            reason = str(stop)
            if reason in (Outcome.NONE, Outcome.INFINITE):
                self._lines.append(reason)
        return Planned(self._values, self._lines, reason)

    def _find_more(self) -> Generator[list[Step], Sequence[Work], None]:
        """Find the value of one more variable, or an equation that says nothing. Raises `_Stop`."""
        unknowns = [self._unknowns(equation) for equation in self._equations]
        single = [
            (names[0], index)
            for index, names in enumerate(unknowns)
            if names is not None and len(names) == 1
        ]
        if any(name in self._wanted for name, _ in single):
            single = [(name, index) for name, index in single if name in self._wanted]
        if single:
            steps = [Step(self._one_variable(self._equations[i], name)) for name, i in single]
            answered = yield from self._solve([name for name, _ in single], steps)
            for (_, index), has_value in zip(single, answered, strict=True):
                if not has_value:  # nothing is left of the equation
                    self._equations[index] = SystemEquation((), ())
            return
        block = determined_block([(i, names) for i, names in enumerate(unknowns) if names])
        if not block:
            nonlinear = any(names is None for names in unknowns)
            raise _Stop(NONLINEAR if nonlinear else Outcome.INFINITE)
        rows = yield from self._net_rows(block)
        yield from self._eliminate(rows)

    def _unknowns(self, equation: SystemEquation) -> list[str] | None:
        """Return the unknown variables of an equation; `None` where it is not linear in them."""
        found: dict[str, None] = {}
        for term in (*equation.left, *equation.right):
            names = [name for name in term.variables if name not in self._values]
            if not term.size or any(self._values.get(name) == 0 for name in term.variables):
                continue
            if len(names) > 1:
                return None
            found.update(dict.fromkeys(names))
        return list(found)

    # -- questions ---------------------------------------------------------------------------------

    def _solve(
        self, names: list[str], steps: list[Step]
    ) -> Generator[list[Step], Sequence[Work], list[bool]]:
        """Ask for the value of each name; return whether the step gave one. Raises `_Stop`."""
        works = yield steps
        for name, work in zip(names, works, strict=True):
            lines = work.lines(name) or []
            if work.answer is None:
                lines = lines[:1]  # what follows is said of a single equation
            self._lines += [line for line in dict.fromkeys(lines) if line not in self._lines]
            if work.answer is not None:
                value = Fraction(work.answer)
                if self._values.setdefault(name, value) != value:
                    raise _Stop(Outcome.NONE)
            elif work.coefficient != 0 or work.constant is None:
                raise _Stop(NO_ANSWER)
            elif work.constant:
                raise _Stop(Outcome.NONE)
        return [work.answer is not None for work in works]

    def _one_variable(self, equation: SystemEquation, name: str) -> Equation:
        """Return the equation with known values as multipliers, `name` its only unknown."""
        left, right = (
            tuple(term for term, on_left in self._terms(equation) if on_left == side)
            for side in (True, False)
        )
        return Equation(left, right, name)

    def _terms(self, equation: SystemEquation) -> list[tuple[Term, bool]]:
        """Return the terms with known values as multipliers, all without denominators."""
        sides = [(t, True) for t in equation.left] + [(t, False) for t in equation.right]
        factors = [self._factor(term) for term, _ in sides]
        common = lcm(*(factor.denominator for factor in factors))
        terms = []
        for (term, on_left), factor in zip(sides, factors, strict=True):
            value = -int(term.size) if term.negative else int(term.size)
            unknown = any(name not in self._values for name in term.variables)
            if not factor:
                continue
            terms.append(
                (Term.product(value, int(factor * common), is_coefficient=unknown), on_left)
            )
        return terms

    def _factor(self, term: Product) -> Fraction:
        factor = Fraction(1)
        for name in term.variables:
            factor *= self._values.get(name, 1)
        return factor

    def _net_rows(self, block: list[int]) -> Generator[list[Step], Sequence[Work], list[Row]]:
        """Ask for the net sums of the equations of a block, and replace them by what came back."""
        kinds = [self._kinds(self._equations[index]) for index in block]
        asked = [
            (number, name)
            for number, sums in enumerate(kinds)
            for name in sums
            if sums[name].needs_model
        ]
        nets = [
            {name: sums[name].as_read() for name in sums if not sums[name].needs_model}
            for sums in kinds
        ]
        if asked:
            pairs = [asked[i : i + 2] for i in range(0, len(asked), 2)]
            works = yield [sums_step([kinds[n][name] for n, name in pair]) for pair in pairs]
            for pair, work in zip(pairs, works, strict=True):
                for (number, name), value in zip(pair, _written(work), strict=False):  # one or two
                    nets[number][name] = value
        rows = []
        for index, sums, net in zip(block, kinds, nets, strict=True):
            row = Row({name: net[name] for name in sums if name and net[name]}, -net.get("", 0))
            self._equations[index] = row.equation()
            rows.append(row)
            if any(one.needs_model for one in sums.values()):
                self._lines.append(str(row))
        return rows

    def _kinds(self, equation: SystemEquation) -> dict[str, Sum]:
        """Return the terms by unknown variable, those without one under the empty name."""
        kinds: dict[str, Sum] = {}
        sides = (*equation.left, *equation.right)
        names = [
            next((name for name in term.variables if name not in self._values), "")
            for term in sides
            if self._factor(term)
        ]
        for name, (term, on_left) in zip(names, self._terms(equation), strict=True):
            if term.size:
                kinds.setdefault(name, Sum()).terms.append((term, on_left))
        return kinds

    def _eliminate(self, rows: list[Row]) -> Generator[list[Step], Sequence[Work], None]:
        """Combine rows until one has a single unknown, and ask for its value. Raises `_Stop`."""
        while True:
            if any(not row.coefficients and row.constant for row in rows):
                raise _Stop(Outcome.NONE)
            single = {
                name: row for row in rows for name in row.coefficients if len(row.coefficients) == 1
            }
            if single:
                steps = [Step(row.one_variable()) for row in single.values()]
                yield from self._solve(list(single), steps)
                return
            pivot = choose_pivot(rows, self._wanted)
            if pivot is None:
                raise _Stop(Outcome.INFINITE)
            row, name = pivot
            others = [other for other in rows if other is not row]
            combined = []
            for other in others:
                left = other.names_without(row, name)
                if name not in other.coefficients:
                    combined.append(other)
                elif len(left) == 1:
                    step = Step(row.eliminated(other, name, left[0]))
                    if any((yield from self._solve(left, [step]))):
                        return
                else:
                    combined.append((yield from self._combine(row, other, name, left)))
            rows = combined

    def _combine(
        self, row: Row, other: Row, name: str, left: list[str]
    ) -> Generator[list[Step], Sequence[Work], Row]:
        """Ask for the net sums of `other` without `name`, which `row` eliminates."""
        kinds = [*left, ""]
        equations = [row.eliminated(other, name, kind) for kind in left]
        sums = [Sum([(term, True) for term in equation.left]) for equation in equations]
        sums.append(Sum([(term, False) for term in equations[0].right]))
        pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
        works = yield [sums_step(pair) for pair in pairs]
        found = [
            value
            for pair, work in zip(pairs, works, strict=True)
            for value in _written(work)[: len(pair)]
        ]
        net = dict(zip(kinds, found, strict=True))
        combined = Row({kind: net[kind] for kind in left if net[kind]}, -net[""])
        self._lines.append(str(combined))
        return combined


def _written(work: Work) -> tuple[int, int]:
    """Return two sums, left side minus right side, as the model wrote them. Raises `_Stop`."""
    if work.coefficient is None or work.constant is None:
        raise _Stop(NO_ANSWER)
    return work.coefficient, -work.constant
