"""Candidates and drawn tokens for the rows whose settings change the choice.

Two graphs of the bundle read the decoder's logits where they are (`model_export.choosing`), so that
a few numbers of each row pass through Python and not its whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engine.adjustments import Adjustments


@dataclass
class Ranking:
    """The `count` largest scores of a row after its adjustments, which `Chooser.rank` finds.

    Scores are logits, or log-probabilities where they are `normalised` before the adjustments.
    """

    row: int
    adjustments: Adjustments
    count: int
    normalised: bool = False
    tokens: list[int] = field(default_factory=list)  # the largest first
    scores: list[float] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)  # the model's own, without adjustments


@dataclass
class Drawing:
    """A token of a row, which `Chooser.draw` draws by `uniform`, a number from 0 to 1."""

    row: int
    adjustments: Adjustments
    temperature: float
    uniform: float
    token: int = -1
    logprob: float = 0.0  # the model's own
    total: float = 0.0  # the logarithm of the sum of e^(score / temperature)


class Chooser:
    """Run a bundle's graphs `candidates` and `draw` on `logits` (rows, 1, width)."""

    def __init__(
        self, candidates: ort.InferenceSession, draw: ort.InferenceSession, logits: ort.OrtValue
    ) -> None:
        self._candidates = candidates
        self._draw = draw
        self._logits = logits
        self.width: int = logits.shape()[2]

    def rank(self, rankings: Sequence[Ranking]) -> None:
        if not rankings:
            return
        count = min(self.width, max(ranking.count for ranking in rankings))
        normalised = np.array([ranking.normalised for ranking in rankings], np.int32)
        tokens, scores, logprobs = self._run(
            self._candidates, rankings, normalised=normalised, count=np.array([count])
        )
        found = zip(rankings, tokens.tolist(), scores.tolist(), logprobs.tolist(), strict=True)
        for ranking, *lists in found:
            shorter = (
                [values[: ranking.count] for values in lists] if ranking.count < count else lists
            )
            ranking.tokens, ranking.scores, ranking.logprobs = shorter

    def draw(self, drawings: Sequence[Drawing]) -> None:
        if not drawings:
            return
        temperatures = np.array([drawing.temperature for drawing in drawings], np.float32)
        uniforms = np.array([drawing.uniform for drawing in drawings], np.float32)
        tokens, logprobs, totals = self._run(
            self._draw, drawings, temperatures=temperatures, uniforms=uniforms
        )
        for index, drawing in enumerate(drawings):
            drawing.token = int(tokens[index])
            drawing.logprob, drawing.total = float(logprobs[index]), float(totals[index])

    def _run(
        self,
        session: ort.InferenceSession,
        wanted: Sequence[Ranking] | Sequence[Drawing],
        **more: npt.NDArray[Any],
    ) -> list[npt.NDArray[Any]]:
        rows = np.array([one.row for one in wanted], np.int64)
        inputs = {"rows": rows, **_as_arrays([one.adjustments for one in wanted]), **more}
        values = {
            name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()
        } | {"logits": self._logits}
        return [value.numpy() for value in session.run_with_ort_values(None, values)]


def _as_arrays(adjustments: Sequence[Adjustments]) -> dict[str, npt.NDArray[Any]]:
    """Return arrays (rows, most adjustments); a row with fewer repeats one of its own."""
    shape = len(adjustments), max(map(len, adjustments))
    tokens = np.zeros(shape, np.int64)
    biases, penalties = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    for row, of_row in enumerate(adjustments):
        if not of_row:
            continue
        many, values = len(of_row), list(of_row.values())
        tokens[row, :many] = list(of_row)
        biases[row, :many], penalties[row, :many] = zip(*values, strict=True)
        tokens[row, many:] = tokens[row, 0]
        biases[row, many:], penalties[row, many:] = values[0]
    return {"tokens": tokens, "biases": biases, "penalties": penalties}
