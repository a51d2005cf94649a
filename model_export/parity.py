"""Compare the engine's answers with PyTorch's: the tokens, and how likely they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path

from tqdm import tqdm

from engine.bundle import Manifest
from engine.contracts import Hypothesis, Prompt, Tokens
from engine.cpu import available_cpus
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.reference import Answer

_BATCH = 64
_NEAR_TIE = 1e-3  # engines in fp32 differ by about 1e-5


class ParityError(ValueError):
    """The bundle's answers are not PyTorch's."""


@dataclass(frozen=True)
class Comparison:
    """Counts of answers, and the largest difference of a token's log-probability.

    `near_ties` diverge where the engine's two likeliest tokens are nearly equal, so that rounding
    decides; `different` are all others that diverge. Log-probabilities are compared up to there.
    """

    questions: int
    equal: int
    near_ties: int
    different: int
    logprob_difference: float  # natural logarithm

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def engine_answers(bundle: Path, manifest: Manifest, sources: Sequence[Tokens]) -> list[Hypothesis]:
    """Return the engine's answers to `sources` (token ids, end token included).

    Rows join while others are active, as in the service.
    """
    model = OrtModel(bundle, manifest, threads=available_cpus(), provider="cpu")
    with tqdm(total=len(sources), desc="engine", unit="row") as bar:
        prompts = [Prompt(tuple(source)) for source in sources]
        answers = generate(OrtEngine(model, rows=_BATCH), prompts, bar.update)
        return [answer.best for answer in answers]


def compare(found: Sequence[Hypothesis], expected: Sequence[Answer]) -> Comparison:
    """Return how the engine's answers compare with PyTorch's to the same sources.

    Raises `ParityError` if a log-probability on either side is NaN.
    """
    pairs = list(zip(found, expected, strict=True))
    for number, (ours, theirs) in enumerate(pairs):
        require_numbers("the engine's", number, ours.logprobs)
        require_numbers("PyTorch's", number, theirs.logprobs)
    parted = [(ours, theirs) for ours, theirs in pairs if ours.tokens != theirs.tokens]
    near = sum(_lead_where_parted(ours, theirs) < _NEAR_TIE for ours, theirs in parted)
    return Comparison(
        questions=len(pairs),
        equal=len(pairs) - len(parted),
        near_ties=near,
        different=len(parted) - near,
        logprob_difference=max(
            (_logprob_difference(ours, theirs) for ours, theirs in pairs), default=0.0
        ),
    )


def require_numbers(whose: str, number: int, logprobs: Sequence[float]) -> None:
    """Raise `ParityError` if a log-probability of answer `number` is NaN."""
    place = next((i for i, value in enumerate(logprobs) if math.isnan(value)), None)
    if place is not None:
        raise ParityError(
            f"{whose} log-probability of token {place} of answer {number} is nan: the weights "
            "overflow, or are damaged"
        )


def _logprob_difference(ours: Hypothesis, theirs: Answer) -> float:
    """Return the largest difference of a log-probability up to the first token that differs."""
    place = _parting(ours, theirs)
    pairs = zip(ours.logprobs[:place], theirs.logprobs[:place], strict=False)
    return max((abs(a - b) for a, b in pairs), default=0.0)


def _parting(ours: Hypothesis, theirs: Answer) -> int | None:
    """Return the first position at which the tokens differ; `None` for equal answers."""
    pairs = zip_longest(ours.tokens, theirs.tokens)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), None)


def _lead_where_parted(ours: Hypothesis, theirs: Answer) -> float:
    """Return the engine's margin, in natural log-probability, at the first token that differs."""
    place = _parting(ours, theirs)
    assert place is not None
    return ours.logprobs[place] - ours.runner_up_logprobs[place]
