"""The prompts of an engine whose settings change the choice of tokens, by the caller's key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace

import onnxruntime as ort

from engine.adjustments import Adjusting
from engine.beams import BeamRows
from engine.bundle import Architecture
from engine.choosing import Chooser
from engine.contracts import Progress, Prompt
from engine.paths import Chosen, Likeliest, Rows, Task
from engine.samples import IndependentRows


class Tasks:
    """Choose tokens among `logits` (rows, 1, tokens) with a bundle's two graphs for it.

    `columns` is the most tokens of an answer, and `decode` gives the text of tokens. `fork` gives a
    prompt another row, which continues as the given one does.
    """

    def __init__(
        self,
        shape: Architecture,
        choosing: Sequence[ort.InferenceSession],
        logits: ort.OrtValue,
        *,
        columns: int,
        decode: Callable[[Sequence[int]], str],
        fork: Callable[[int], int],
    ) -> None:
        self._shape = shape
        candidates, draw = choosing
        self._chooser = Chooser(candidates, draw, logits)
        self._columns = columns
        self._decode = decode
        self._fork = fork
        self._rows: dict[Hashable, Rows] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, key: Hashable, prompt: Prompt, row: int, *, most: int) -> None:
        """Choose for `prompt`, which begins in `row`, until its answers have `most` tokens."""
        eos_id, width = self._shape.eos_id, self._chooser.width
        if prompt.decoding.top_k >= width:  # all tokens, which need no order
            prompt = replace(prompt, decoding=replace(prompt.decoding, top_k=0))
        task = Task(
            prompt=prompt,
            start_id=self._shape.start_id,
            eos_id=eos_id,
            most=most,
            adjusting=Adjusting(prompt.decoding, eos_id=eos_id, width=width),
            decode=self._decode,
        )
        self._rows[key] = (
            BeamRows(task, row, self._fork)
            if prompt.decoding.num_beams > 1
            else IndependentRows(task, row, self._fork, self._columns)
        )

    def discard(self, keys: Collection[Hashable]) -> None:
        """Remove these prompts; ignore keys without one."""
        for key in keys:
            self._rows.pop(key, None)

    def clear(self) -> None:
        self._rows.clear()

    def moved(self, key: Hashable, last: int, row: int) -> None:
        """Follow a row of `key`, if it is one of these prompts, to another slot."""
        if key in self._rows:
            self._rows[key].moved(last, row)

    def written(self, key: Hashable, since: int) -> Progress | None:
        """Return what a prompt of one row has decoded after its first `since` tokens.

        `None` for a key that is not here.
        """
        if key not in self._rows:
            return None
        path = self._rows[key].certain
        return path.progress(since) if path is not None else Progress([], [], [])

    def choose(
        self, best: Sequence[list[int]], logprobs: Sequence[list[float]]
    ) -> dict[Hashable, Chosen]:
        """Choose the next token of every row here; rows have their two likeliest in the lists."""
        needs = [rows.needs() for rows in self._rows.values()]
        self._chooser.rank([one for some in needs for one in some.rankings])
        self._chooser.draw([one for some in needs for one in some.drawings])
        self._chooser.select([one for some in needs for one in some.selections])
        likeliest = [*map(Likeliest, best, logprobs)]
        return {key: rows.choose(self._chooser, likeliest) for key, rows in self._rows.items()}
