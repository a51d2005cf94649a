"""One prediction with all that can be said of it exactly: the row behind every table and plot."""

from __future__ import annotations

from dataclasses import dataclass

from equations.parser import parse
from training.partial import Partial, Step, compare, first_failed_step, writes_work
from training.prediction import Prediction


@dataclass(frozen=True)
class Graded:
    prediction: Prediction
    partial: Partial
    failed: Step | None  # the first failed step of a worked form
    worked: bool  # whether the text is a worked form at all
    coefficients: int  # terms with the variable, but for zeros
    constants: int  # terms without it, likewise

    @property
    def terms(self) -> int:
        return self.coefficients + self.constants


def grade(prediction: Prediction) -> Graded:
    """Raises `ValueError` where the right answer is not a number."""
    equation = parse(prediction.problem.question)
    terms = [term for term in (*equation.left, *equation.right) if term.size]
    coefficients = sum(term.is_coefficient for term in terms)
    return Graded(
        prediction,
        compare(prediction.answer, prediction.problem.answer),
        first_failed_step(equation.with_integers(), prediction.text),
        writes_work(prediction.text),
        coefficients,
        len(terms) - coefficients,
    )
