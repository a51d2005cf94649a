"""Other answers that a model nearly gave, for a question whose first answer is wrong.

Each takes the runner-up at one place where the model was least sure, and goes on greedily from
there: limited discrepancy search with one discrepancy (Harvey and Ginsberg 1995). Deterministic,
and every alternative differs from the first answer.
"""

from __future__ import annotations

from service.contracts import Hypothesis, Prompt


def alternatives(
    source: tuple[int, ...], first: Hypothesis, *, most: int, eos_id: int
) -> list[Prompt]:
    """Up to `most` prompts, the likeliest to be right first.

    To end where the model went on is no alternative: an answer cut short is none.
    """
    margins = [
        (best - runner_up, place)
        for place, (best, runner_up) in enumerate(
            zip(first.logprobs, first.runner_up_logprobs, strict=True)
        )
        if first.runners_up[place] != eos_id
    ]
    places = [place for _, place in sorted(margins)[:most]]
    return [Prompt(source, (*first.tokens[:place], first.runners_up[place])) for place in places]
