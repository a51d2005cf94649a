"""Turn the log-probability of an answer into a calibrated confidence.

The score that is calibrated counts both choices where two tokens are right: most quotient digits of
a worked form have a neighbour that the next digit makes up for, and a model that knows it divides
its probability between the two.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Sequence
from math import exp, log1p

from engine.contracts import Hypothesis
from equations.work_tokens import quotient_digits

Knots = Sequence[tuple[float, float]]  # (log-probability, share of right answers), both ascending


def choices(token_id: Callable[[str], int | None]) -> frozenset[int]:
    """Return the ids of the tokens of which two may be right, in a vocabulary that has them."""
    ids = (token_id(token) for token in quotient_digits())
    return frozenset(id_ for id_ in ids if id_ is not None)


def score(hypothesis: Hypothesis, either: Container[int]) -> float:
    """Return the log-probability of an answer, where tokens of `either` count with a runner-up that
    is one of them too.
    """
    total = 0.0
    chosen = zip(hypothesis.tokens, hypothesis.logprobs, strict=False)  # all but the end token
    for place, (token, logprob) in enumerate(chosen):
        if token in either and hypothesis.runners_up[place] in either:
            other = hypothesis.runner_up_logprobs[place]
            total += max(logprob, other) + log1p(exp(-abs(logprob - other)))
        else:
            total += logprob
    return total + sum(hypothesis.logprobs[len(hypothesis.tokens) :])


def confidence(knots: Knots, logprob: float) -> float:
    """Return the probability at `logprob`: linear between knots, constant beyond them.

    Knots come from `training.calibration`.
    """
    above = bisect_right(knots, (logprob, 1.0))
    if above in (0, len(knots)):
        return knots[max(0, above - 1)][1]
    (left, low), (right, high) = knots[above - 1], knots[above]
    return low + (high - low) * (logprob - left) / (right - left)
