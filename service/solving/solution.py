"""The answer to one question, with its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from equations.verify import Verdict
from service.contracts import Timings


class Fallback(StrEnum):
    """The action to take if the model's answer is not correct."""

    NONE = "none"  # return it with its verdict
    EXACT = "exact"  # solve the question exactly, if it has one solution


class Source(StrEnum):
    MODEL = "model"
    EXACT = "exact"


@dataclass(frozen=True)
class Solution:
    """The answer to one question, with its verdict."""

    # Of each variable asked for; `None` where one has no readable value, or none can be right.
    values: Mapping[str, str] | None
    variable: str | None  # the one asked for; `None` where all of several are
    verdict: Verdict
    reason: str | None
    source: Source
    equation: str  # what was asked, in the dataset's wording, with integer terms
    work: list[str] | None
    text: str = ""  # the model's output; several are joined by `STEPS`
    logprob: float | None = None  # of the output; null if the model was not used
    score: float | None = None  # what the confidence is calibrated on; null for several steps
    confidence: float | None = None  # calibrated probability that the model's values are right
    tries: int = 0  # verified outputs of the model; in several steps, those of the longest search
    timings: Timings = Timings(0.0, 0.0)
    total_s: float = 0.0

    @property
    def answer(self) -> str | None:
        """Return the value of the variable asked for; `None` where all of several are."""
        if self.values is None or self.variable is None:
            return None
        return self.values[self.variable]


STEPS = " ; "  # between the outputs of a question in several steps
