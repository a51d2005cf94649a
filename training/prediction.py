"""Define predictions and the interface of a model under evaluation. Imports no torch."""

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
    text: str  # the model's greedy output
    answer: str | None
    verdict: Verdict  # of the greedy answer
    logprob: float | None = None  # of all tokens of `text` and the end token, natural logarithm
    score: float | None = None  # what the confidence is calibrated on (`service.confidence`)
    confidence: float | None = None  # calibrated probability that `answer` is right
    # The answer of a teacher-forced pass, and its log-probability of the right answer.
    teacher_forced: str | None = None
    expected_logprob: float | None = None
    second: str | None = None  # the right alternative; None: not searched for, or not found

    @property
    def exact(self) -> bool:
        return self.answer == self.problem.answer

    @property
    def exact_teacher_forced(self) -> bool:
        """True if right as the research counted: teacher-forced, each token after right ones."""
        return self.teacher_forced == self.problem.answer

    @property
    def exact_second(self) -> bool:
        """True if greedy decoding or else an alternative gave the right answer."""
        return self.exact or self.second == self.problem.answer


class Predictor(Protocol):
    """A loaded model: a checkpoint or a bundle."""

    def predict(self, problems: Sequence[Problem]) -> list[Prediction]:
        """Return one prediction for each problem, in order."""


def judged(
    problem: Problem, text: str, answer: str | None, logprob: float | None = None
) -> Prediction:
    """Return a greedy answer with its verdict by substitution."""
    question = parse_question(problem.question)
    single = question.single()
    if single is None:
        verdict = verify_values(question.system, {question.asked or "": answer or ""}).verdict
    else:
        verdict = verify(single, answer or "").verdict
    return Prediction(problem, text, answer, verdict, logprob)
