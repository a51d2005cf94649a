"""The tokens that greedy rows have decoded, and how likely they were.

The decoder gives the two likeliest tokens of each step. The first is decoded, unless another is
forced.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from engine.contracts import Hypothesis, Progress

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_FREE = -1  # a position whose token is not forced


class Transcripts:
    """Transcripts of `capacity` rows, of up to `columns` tokens each."""

    def __init__(self, capacity: int, columns: int) -> None:
        self._best: Ids = np.zeros((capacity, columns, 2), np.int64)
        self._logprobs: Floats = np.zeros((capacity, columns, 2), np.float32)
        self._forced: Ids = np.full((capacity, columns), _FREE, np.int64)
        self._forcing: set[int] = set()  # rows that have forced tokens
        self._numbers = np.arange(capacity)

    def force(self, row: int, tokens: Sequence[int]) -> None:
        """Let a row decode these tokens first."""
        self._forced[row, : len(tokens)] = tokens
        self._forcing.add(row)

    def end(self, row: int) -> None:
        """Forget what is forced in a row that ends."""
        if row in self._forcing:
            self._forced[row] = _FREE
            self._forcing.remove(row)

    def clear(self) -> None:
        for row in tuple(self._forcing):
            self.end(row)

    def move(self, last: int, row: int) -> None:
        self._best[row], self._logprobs[row] = self._best[last], self._logprobs[last]
        if last in self._forcing:
            self.force(row, self._forced[last].tolist())
            self.end(last)

    def add(self, past: npt.NDArray[np.int32], best: Ids, logprobs: Floats) -> Ids:
        """Add the two likeliest tokens (n, 2) of the first rows at the positions `past` (n).

        Return the tokens that these rows decode (n).
        """
        positions = self._numbers[: len(past)], past
        self._best[positions] = best
        self._logprobs[positions] = logprobs
        return _taken(self._forced[positions], best) if self._forcing else best[:, 0]

    def progress(self, row: int, since: int, steps: int) -> Progress:
        """Return the tokens of a row from the position `since` up to `steps`."""
        best, logprobs = self._best[row, since:steps], self._logprobs[row, since:steps]
        taken, taken_logprobs = best[:, 0], logprobs[:, 0]
        if row in self._forcing:
            taken = _taken(self._forced[row, since:steps], best)
            known = np.where(taken == best[:, 1], logprobs[:, 1], np.nan)
            taken_logprobs = np.where(taken == best[:, 0], taken_logprobs, known)
        return Progress(taken.tolist(), taken_logprobs.tolist(), [])

    def hypothesis(self, row: int, steps: int, *, eos_id: int) -> Hypothesis:
        """Return the answer of a row that has ended after `steps` tokens."""
        best, logprobs = self._best[row, :steps], self._logprobs[row, :steps]
        others, other_logprobs = best[:, 1], logprobs[:, 1]
        if row in self._forcing:
            is_first = _taken(self._forced[row, :steps], best) == best[:, 0]
            others = np.where(is_first, others, best[:, 0])
            other_logprobs = np.where(is_first, other_logprobs, logprobs[:, 0])
        tokens, taken_logprobs, _ = self.progress(row, 0, steps)
        return Hypothesis(
            tokens=tokens[:-1] if tokens[-1] == eos_id else tokens,
            logprobs=taken_logprobs,
            runners_up=others.tolist(),
            runner_up_logprobs=other_logprobs.tolist(),
        )


def _taken(forced: Ids, best: Ids) -> Ids:
    """Return the token of each position, from the forced ones (n) and the likeliest (n, 2)."""
    return np.where(forced == _FREE, best[:, 0], forced)
