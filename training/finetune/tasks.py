"""The tasks of fine-tuning: linear equations of the dataset, or pairs of texts of one's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from equations.errors import EquationError
from equations.formats import FORMATS
from equations.prompt import OutOfRange
from training import data
from training.data import DataError, Problem
from training.errors import RunError
from training.finetune.plan import PairFiles, Settings
from training.finetune.scores import text_scores
from training.pairs import Pair, fingerprint, read_pairs

Item = TypeVar("Item")
_HELD_OUT = 20  # one pair in so many, where no file of validation pairs is given


class Task(Protocol):
    """Items to learn, items to be scored on, and how answers are scored."""

    @property
    def prompt_format(self) -> str | None:
        """The format that the checkpoint records; None for a task of one's own."""

    @property
    def described(self) -> Mapping[str, Any]:
        """The data, for `data.json`."""

    @property
    def training(self) -> Sequence[Any]: ...

    @property
    def monitored(self) -> Sequence[Any]: ...

    def pair(self, item: Any) -> Pair:
        """Return what the model reads and should write for an item."""

    def scores(self, texts: Sequence[str]) -> dict[str, float]:
        """Score what a model wrote for the monitored items, in their order."""


@dataclass(frozen=True)
class Equations:
    """Questions of the dataset in a prompt format, scored by their exact answers."""

    prompt_format: str
    described: Mapping[str, Any]
    training: Sequence[Problem]
    monitored: Sequence[Problem]

    @classmethod
    def read(cls, folder: Path, settings: Settings) -> Equations:
        """Read the folder's questions.

        Raises `DataError`, and `RunError` for a prompt format whose targets are worked forms.
        """
        assert settings.prompt_format is not None
        if FORMATS[settings.prompt_format].writes_work:
            raise RunError(f"prompt format {settings.prompt_format} is for `training train`")
        monitored = data.read(data.split_file(folder, data.TEST_SPLIT))[: settings.monitored]
        training = _sample(data.read_training(folder), settings)
        return cls(settings.prompt_format, data.describe(folder), training, monitored)

    def pair(self, item: Problem) -> Pair:
        """Return both texts. Raises `DataError` for a question that the format cannot express."""
        format_ = FORMATS[self.prompt_format]
        assert format_.write_answer is not None
        try:
            return Pair(format_.encode(item.question), format_.write_answer(item.answer))
        except (EquationError, OutOfRange) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"question {item.question!r}: {reason}") from error

    def scores(self, texts: Sequence[str]) -> dict[str, float]:
        read = FORMATS[self.prompt_format].read
        pairs = zip(texts, self.monitored, strict=True)
        exact = sum(read(text).answer == problem.answer for text, problem in pairs)
        return {"exact_match": exact / max(1, len(texts))}


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts of one's own."""

    described: Mapping[str, Any]
    training: Sequence[Pair]
    monitored: Sequence[Pair]
    prompt_format: None = None

    @classmethod
    def read(cls, files: PairFiles, settings: Settings) -> Pairs:
        """Read the pairs, and hold some out where there is no file for validation.

        Raises `DataError`.
        """
        columns = (files.source, files.target, settings.prefix)
        pairs = read_pairs(files.training, *columns)
        if files.validation is not None:
            held_out = read_pairs(files.validation, *columns)
        else:
            order = np.random.default_rng(settings.seed).permutation(len(pairs))
            count = -(-len(pairs) // _HELD_OUT)
            held_out = [pairs[i] for i in order[:count]]
            pairs = [pairs[i] for i in sorted(order[count:])]
            print(f"{count:,} of the pairs are held out for validation", file=sys.stderr)
        described = {
            "source": files.source,
            "target": files.target,
            "sha256": fingerprint(files.training),
            "validation_sha256": fingerprint(files.validation) if files.validation else None,
        }
        return cls(described, _sample(pairs, settings), held_out[: settings.monitored])

    def pair(self, item: Pair) -> Pair:
        return item

    def scores(self, texts: Sequence[str]) -> dict[str, float]:
        return text_scores(texts, [pair.target for pair in self.monitored]) if texts else {}


def _sample(items: Sequence[Item], settings: Settings) -> Sequence[Item]:
    """Return a random share of the training data, by the settings' share and seed."""
    if settings.share == 1.0:
        return items
    chosen = np.random.default_rng(settings.seed).permutation(len(items))
    return [items[i] for i in chosen[: round(settings.share * len(items))]]
