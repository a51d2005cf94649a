"""Grade one prediction exactly; every table and plot is made from these grades."""

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
    worked: bool  # True if the text is a worked form
    coefficients: int  # nonzero terms with the variable
    constants: int  # nonzero terms without it

    @property
    def terms(self) -> int:
        return self.coefficients + self.constants


def grade(prediction: Prediction) -> Graded:
    """Grade a prediction. Raises `ValueError` if the right answer is not a number."""
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
