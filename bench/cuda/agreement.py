"""Compare an engine's tokens and log-probabilities with the reference's. Pure.

A first difference is harmless where the reference itself was undecided: `lead` is the difference,
in natural log-probability, between its token and the next likely one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 3  # differences, those with the largest leads


@dataclass(frozen=True)
class Scored:
    """The answer to one source, without its end token.

    `logprobs` has a natural log-probability for each token, `leads` the reference's alone; both are
    empty where an engine does not report them.
    """

    tokens: list[int]
    logprobs: list[float] = field(default_factory=list)
    leads: list[float] = field(default_factory=list)


def compare(found: Sequence[Scored], reference: Sequence[Scored]) -> dict[str, Any]:
    """Return how many answers and tokens are equal, and how far the log-probabilities differ.

    Tokens after an answer's first difference follow another text and are not compared.
    """
    differences, deltas, compared = [], [], 0
    for row, (one, expected) in enumerate(zip(found, reference, strict=True)):
        same = _shared(one.tokens, expected.tokens)
        compared += same
        deltas += [abs(a - b) for a, b in zip(one.logprobs[:same], expected.logprobs, strict=False)]
        if one.tokens != expected.tokens:
            lead = expected.leads[same] if same < len(expected.leads) else None
            differences.append({"row": row, "position": same, "lead": lead})
    differences.sort(key=lambda one: one["lead"] or 0.0, reverse=True)
    return {
        "answers": len(reference),
        "equal": len(reference) - len(differences),
        "tokens_compared": compared,
        "worst_differences": differences[:_SHOWN],
        "logprob_difference_max": max(deltas, default=None),
        "logprob_difference_mean": sum(deltas) / len(deltas) if deltas else None,
    }


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common beginning."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))
