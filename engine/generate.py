"""Decode a whole list of prompts, for callers that have them all at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from engine.contracts import Engine, Hypothesis, Prompt


def generate(
    engine: Engine, prompts: Sequence[Prompt], advance: Callable[[int], object] = lambda _: None
) -> list[Hypothesis]:
    """Return hypotheses in the order of `prompts`.

    The longest prompts start first, so that few steps are made for a lone last row; free rows are
    filled a quarter of the engine at a time. `advance` is called with the number of newly finished
    prompts. The engine must be idle, and is idle afterwards.
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
