"""All answers to a list of prompts, for whoever has them at once: export, evaluation, benches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from service.contracts import Engine, Hypothesis, Prompt


def generate(
    engine: Engine, prompts: Sequence[Prompt], advance: Callable[[int], object] = lambda _: None
) -> list[Hypothesis]:
    """Hypotheses in the order of `prompts`; the longest are begun first, so that few steps are made
    for the last alone, and a free quarter of the rows is filled at once.

    `advance` is told how many more are done. The engine must be idle, and is so afterwards.
    """
    waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index].source))
    finished: dict[Hashable, Hypothesis] = {}
    while len(finished) < len(prompts):
        free = engine.rows - engine.active
        if waiting and free >= min(len(waiting), max(1, engine.rows // 4)):
            chosen, waiting = waiting[-free:], waiting[:-free]
            engine.join({index: prompts[index] for index in chosen})
        done = engine.step()
        finished |= done
        advance(len(done))
    return [finished[index] for index in range(len(prompts))]
