"""Candidates and drawn tokens for the rows whose settings change the choice.

Two graphs of the bundle read the decoder's logits where they are (`model_export.choosing`), so that
a few numbers of each row pass through Python and not its whole vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engine.adjustments import Adjustments
from engine.sampling import MOST_RANKED

_FEW = MOST_RANKED  # candidates, of which a row costs little more than of one


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


class Continuation(NamedTuple):
    origin: int  # the index of its row among those of the selection
    token: int
    logprob: float  # the model's own, without adjustments
    score: float


@dataclass
class Selection:
    """The `count` best continuations among all `rows`, which `Chooser.select` finds.

    A continuation's score is its row's score so far plus its log-probability after the row's
    adjustments. Of equal ones those of earlier rows, and of a row the likelier, come first.
    """

    rows: Sequence[int]
    adjustments: Sequence[Adjustments]  # of each row
    so_far: Sequence[float]  # the score of each row
    count: int
    best: Iterable[Continuation] = ()  # the best first


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
        self._candidates = _Call(candidates, logits)
        self._draw = _Call(draw, logits)
        self.width: int = logits.shape()[2]

    def rank(self, rankings: Sequence[Ranking]) -> None:
        for group in self._of_like_counts(rankings):
            self._rank(group)

    def _of_like_counts(self, rankings: Sequence[Ranking]) -> Iterable[list[Ranking]]:
        """Divide `rankings` so that each is made with at most twice its count, or with `_FEW`.

        A call finds as many candidates of each row as one of them wants.
        """
        groups: dict[int, list[Ranking]] = {}
        for ranking in rankings:
            count = min(self.width, max(_FEW, ranking.count))
            groups.setdefault((count - 1).bit_length(), []).append(ranking)
        return groups.values()

    def _rank(self, rankings: Sequence[Ranking]) -> None:
        count = min(self.width, max(ranking.count for ranking in rankings))
        tokens, scores, logprobs = self._candidates.run(
            [ranking.row for ranking in rankings],
            [ranking.adjustments for ranking in rankings],
            normalised=np.array([ranking.normalised for ranking in rankings], np.int32),
            count=np.array([count]),
        )
        found = zip(rankings, tokens.tolist(), scores.tolist(), logprobs.tolist(), strict=True)
        for ranking, *lists in found:
            shorter = (
                [values[: ranking.count] for values in lists] if ranking.count < count else lists
            )
            ranking.tokens, ranking.scores, ranking.logprobs = shorter

    def select(self, selections: Sequence[Selection]) -> None:
        if not selections:
            return
        rows = [row for selection in selections for row in selection.rows]
        most = max(selection.count for selection in selections)
        count = min(self.width, most)  # of a row: no more of it can be chosen
        tokens, scores, logprobs = self._candidates.run(
            rows,
            [adjustments for selection in selections for adjustments in selection.adjustments],
            normalised=np.ones(len(rows), np.int32),
            count=np.array([count]),
        )
        found = tokens.tolist(), scores.tolist(), logprobs.tolist()
        begin = 0
        for selection in selections:
            end = begin + len(selection.rows)
            selection.best = _best(selection, *(lists[begin:end] for lists in found))
            begin = end

    def draw(self, drawings: Sequence[Drawing]) -> None:
        if not drawings:
            return
        temperatures = np.array([drawing.temperature for drawing in drawings], np.float32)
        uniforms = np.array([drawing.uniform for drawing in drawings], np.float32)
        tokens, logprobs, totals = self._draw.run(
            [drawing.row for drawing in drawings],
            [drawing.adjustments for drawing in drawings],
            temperatures=temperatures,
            uniforms=uniforms,
        )
        for index, drawing in enumerate(drawings):
            drawing.token = int(tokens[index])
            drawing.logprob, drawing.total = float(logprobs[index]), float(totals[index])


class _Call:
    """Runs a graph that reads `logits` in place."""

    def __init__(self, session: ort.InferenceSession, logits: ort.OrtValue) -> None:
        self._session = session
        # A binding is prepared once; to give a session all of its inputs takes three times as long.
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("logits", logits)
        self._outputs = [output.name for output in session.get_outputs()]

    def run(
        self, rows: Sequence[int], adjustments: Sequence[Adjustments], **more: npt.NDArray[Any]
    ) -> list[npt.NDArray[Any]]:
        """Return the graph's outputs for these rows of the logits, each with its adjustments."""
        inputs = {"rows": np.array(rows, np.int64), **_as_arrays(adjustments), **more}
        for name, array in inputs.items():
            self._binding.bind_cpu_input(name, array)
        for name in self._outputs:  # anew, as their shapes change
            self._binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(self._binding)
        found: list[npt.NDArray[Any]] = self._binding.copy_outputs_to_cpu()
        return found


def _best(
    selection: Selection,
    tokens: Sequence[Sequence[int]],
    scores: Sequence[Sequence[float]],
    logprobs: Sequence[Sequence[float]],
) -> Iterator[Continuation]:
    """Find the best continuations of a selection from the candidates of each of its rows."""
    count = len(tokens[0])
    totals = [
        so_far + score
        for so_far, of_row in zip(selection.so_far, scores, strict=True)
        for score in of_row
    ]
    # The sort is stable, in descending order too. For a few prompts NumPy takes three times as
    # long as lists.
    order = sorted(range(len(totals)), key=totals.__getitem__, reverse=True)[: selection.count]
    for place in order:  # made one by one, as beams seldom look at all
        row, nth = divmod(place, count)
        yield Continuation(row, tokens[row][nth], logprobs[row][nth], totals[place])


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
