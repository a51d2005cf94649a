"""One question to the model on the way to the solution of a system (`equations.planner`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from equations.linear import Equation, Term
from equations.prompt import write_digits, write_sums
from equations.work import Work


@dataclass(frozen=True)
class Step:
    """One question to the model: the solution of an equation, or without `divide` its net sums."""

    equation: Equation
    divide: bool = True

    def prompt(self) -> str:
        """Return the text that the model reads. Raises `prompt.OutOfRange`."""
        return write_digits(self.equation) if self.divide else write_sums(self.equation)

    def exact(self) -> Work:
        """Return the right sums, and the right answer where one is asked for and there is one."""
        net = self.equation.net()
        solution = self.equation.solution() if self.divide else None
        answer = None if solution is None else str(solution)
        return Work(int(net.coefficient), -int(net.constant), answer)

    def correct(self, written: Work) -> bool:
        """Return whether the answer is right, or both sums where no answer is asked for."""
        exact = self.exact()
        if exact.answer is not None:
            return written.answer == exact.answer
        sums = (written.coefficient, written.constant) == (exact.coefficient, exact.constant)
        return sums and not (self.divide and written.answer)


@dataclass
class Sum:
    """The terms of one kind of one equation, to be added up: left side minus right side."""

    terms: list[tuple[Term, bool]] = field(default_factory=list)  # each with: on the left side

    @property
    def needs_model(self) -> bool:
        return len(self.terms) > 1 or any(term.multiplier != 1 for term, _ in self.terms)

    def as_read(self) -> int:
        """Return the value of at most one plain term."""
        return sum(int(term.value) if left else -int(term.value) for term, left in self.terms)


def sums_step(sums: Sequence[Sum]) -> Step:
    """Return the question for one or two sums: the first as coefficients, then as constants."""
    terms = [
        (term._replace(is_coefficient=kind == 0), on_left)
        for kind, one in enumerate(sums)
        for term, on_left in one.terms
    ]
    left, right = (
        tuple(term for term, on_left in terms if on_left == side) for side in (True, False)
    )
    return Step(Equation(left, right, "x"), divide=False)
