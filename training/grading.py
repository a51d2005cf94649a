"""Grade one prediction exactly; every table and plot is made from these grades."""

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
    worked: bool  # True if the text is a worked form
    coefficients: int  # nonzero terms with the variable
    constants: int  # nonzero terms without it

    @property
    def terms(self) -> int:
        return self.coefficients + self.constants


def grade(prediction: Prediction) -> Graded:
    """Grade a prediction. Raises `ValueError` if the right answer is not a number."""
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
