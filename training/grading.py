"""One prediction with all that can be said of it exactly: the row behind every table and plot."""

from __future__ import annotations

from dataclasses import dataclass

from equations.parser import parse_question
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
    question = parse_question(prediction.problem.question)
    single = question.single()
    products = [
        product
        for equation in question.system.equations
        for product in (*equation.left, *equation.right)
        if product.size
    ]
    coefficients = sum(bool(product.variables) for product in products)
    return Graded(
        prediction,
        compare(prediction.answer, prediction.problem.answer),
        first_failed_step(single.with_integers(), prediction.text) if single else None,
        writes_work(prediction.text),
        coefficients,
        len(products) - coefficients,
    )
