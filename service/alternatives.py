"""Other answers that a model nearly gave, for a question whose first answer is wrong.

Each deviates at one place from an answer already seen, where the model's second choice was nearly
as likely as its first, and goes on greedily from there: a best-first search in the order of
discrepancies (Harvey and Ginsberg 1995, limited discrepancy search). Deterministic, and no answer
is asked for twice.
"""

from __future__ import annotations

import heapq
import math

from engine.contracts import Hypothesis, Prompt


class Alternatives:
    """The deviations that have not been tried from the answers to `source` seen so far."""

    def __init__(self, source: tuple[int, ...], *, eos_id: int) -> None:
        self._source = source
        self._eos_id = eos_id
        self._untried: list[tuple[float, tuple[int, ...]]] = []  # a heap, likeliest first

    def add(self, prompt: Prompt, seen: Hypothesis) -> None:
        """An answer to deviate from, at the places that `prompt` left it free to choose.

        To end where the model went on is no alternative: an answer cut short is none.
        """
        for place in range(len(prompt.forced), len(seen.logprobs)):
            runner_up = seen.runners_up[place]
            margin = seen.logprobs[place] - seen.runner_up_logprobs[place]
            likelihood = seen.logprob - margin  # as if what follows were as likely as it was
            if runner_up != self._eos_id and not math.isnan(likelihood):
                forced = (*seen.tokens[:place], runner_up)
                heapq.heappush(self._untried, (-likelihood, forced))

    def take(self, most: int) -> list[Prompt]:
        """Up to `most` prompts, the likeliest first; they count as tried."""
        count = min(most, len(self._untried))
        return [Prompt(self._source, heapq.heappop(self._untried)[1]) for _ in range(count)]
