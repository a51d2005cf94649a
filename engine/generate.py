"""Decode a whole list of prompts, for callers that have them all at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from engine.contracts import Answer, Engine, Prompt


def generate(
    engine: Engine, prompts: Sequence[Prompt], advance: Callable[[int], object] = lambda _: None
) -> list[Answer]:
    """Return answers in the order of `prompts`.

    The longest prompts start first, so that few steps are made for a lone last row; free rows are
    filled a quarter of the engine at a time. `advance` is called with the number of newly finished
    prompts. The engine must be idle, and is idle afterwards. Raises `ValueError` for a prompt of
    more rows than the engine has.
    """
    widest = max((prompt.rows for prompt in prompts), default=0)
    if widest > engine.rows:
        raise ValueError(f"a prompt of {widest} rows; the engine has {engine.rows}")
    waiting = sorted(range(len(prompts)), key=lambda index: len(prompts[index].source))
    finished: dict[Hashable, Answer] = {}
    while len(finished) < len(prompts):
        free = engine.rows - engine.active
        wanted = sum(prompts[index].rows for index in waiting)
        if waiting and free >= min(wanted, max(prompts[waiting[-1]].rows, engine.rows // 4)):
            chosen = _that_fit(waiting, prompts, free)
            del waiting[-len(chosen) :]
            engine.join({index: prompts[index] for index in chosen})
        done = engine.step()
        finished |= done
        advance(len(done))
    return [finished[index] for index in range(len(prompts))]


def _that_fit(waiting: Sequence[int], prompts: Sequence[Prompt], free: int) -> list[int]:
    """Return as many of `waiting`, from the last on, as have `free` rows between them."""
    chosen: list[int] = []
    for index in reversed(waiting):
        free -= prompts[index].rows
        if free < 0:
            break
        chosen.append(index)
    return chosen
