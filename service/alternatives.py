"""Search for other answers to a question whose first answer is wrong.

An alternative takes the model's second choice at one position of an earlier answer and continues
greedily from there. Alternatives are tried best first, by likelihood (Harvey and Ginsberg 1995,
limited discrepancy search). The search is deterministic and tries no answer twice.
"""

from __future__ import annotations

import heapq
import math

from engine.contracts import Hypothesis, Prompt


class Alternatives:
    """The untried deviations from the answers to `source` seen so far."""

    def __init__(self, source: tuple[int, ...], *, eos_id: int) -> None:
        self._source = source
        self._eos_id = eos_id
        self._untried: list[tuple[float, tuple[int, ...]]] = []  # a heap, the likeliest first

    def add(self, prompt: Prompt, seen: Hypothesis) -> None:
        """Add an answer to deviate from, at the positions that `prompt` did not force.

        Ending early is not an alternative, because a truncated answer is not an answer.
        """
        for position in range(len(prompt.forced), len(seen.logprobs)):
            runner_up = seen.runners_up[position]
            margin = seen.logprobs[position] - seen.runner_up_logprobs[position]
            likelihood = seen.logprob - margin  # assumes that what follows is as likely as before
            if runner_up != self._eos_id and not math.isnan(likelihood):
                forced = (*seen.tokens[:position], runner_up)
                heapq.heappush(self._untried, (-likelihood, forced))

    def take(self, most: int) -> list[Prompt]:
        """Return up to `most` prompts, the likeliest first, and count them as tried."""
        count = min(most, len(self._untried))
        return [Prompt(self._source, heapq.heappop(self._untried)[1]) for _ in range(count)]
