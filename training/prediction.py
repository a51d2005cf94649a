"""What a model answered, and what any model looks like to the evaluation. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from equations.parser import parse_question
from equations.system import verify_values
from equations.verify import Verdict, verify
from training.data import Problem


@dataclass(frozen=True)
class Prediction:
    problem: Problem
    text: str  # what the model wrote, greedily
    answer: str | None
    verdict: Verdict  # of the greedy answer
    logprob: float | None = None  # of all tokens of `text` and the end token, natural logarithm
    confidence: float | None = None  # calibrated probability that `answer` is right
    # What a teacher-forced pass wrote, and the logarithm of its probability of the right answer.
    teacher_forced: str | None = None
    expected_logprob: float | None = None
    second: str | None = None  # the answer after the second try; None: not tried, or not found

    @property
    def exact(self) -> bool:
        return self.answer == self.problem.answer

    @property
    def exact_teacher_forced(self) -> bool:
        """Right as the research counted: told the right answer's beginning at every place."""
        return self.teacher_forced == self.problem.answer

    @property
    def exact_second(self) -> bool:
        """Whether greedy decoding or else the second try gave the right answer."""
        return self.exact or self.second == self.problem.answer


class Predictor(Protocol):
    """A model ready to answer: a checkpoint or a bundle."""

    def predict(self, problems: Sequence[Problem]) -> list[Prediction]:
        """One prediction for each problem, in their order."""


def judged(
    problem: Problem, text: str, answer: str | None, logprob: float | None = None
) -> Prediction:
    """A greedy answer with its verdict, by substitution."""
    question = parse_question(problem.question)
    single = question.single()
    if single is None:
        verdict = verify_values(question.system, {question.asked or "": answer or ""}).verdict
    else:
        verdict = verify(single, answer or "").verdict
    return Prediction(problem, text, answer, verdict, logprob)
