"""Problems to batches of token ids, reproducibly: batch `n` depends on the seed and `n` alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from equations import prompt, work
from equations.parser import parse
from training.data import Problem
from training.errors import RunError
from training.vocabulary import PAD_ID

_BATCHES_PER_POOL = 50  # examples are sorted by length within a pool, to save padding


@dataclass(frozen=True)
class Batch:
    source: Tensor  # (batch, source length), int64, padded with PAD_ID
    target: Tensor  # (batch, target length), likewise


class Batches:
    """An endless, seekable stream of batches: epochs of shuffled pools of like lengths."""

    def __init__(
        self, problems: Sequence[Problem], tokenizer: Tokenizer, batch_size: int, seed: int
    ) -> None:
        self._problems = problems
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._seed = seed
        self._pools = len(problems) // (batch_size * _BATCHES_PER_POOL)
        if self._pools == 0:
            need = batch_size * _BATCHES_PER_POOL
            raise RunError(f"{len(problems)} problems; expected at least one pool of {need}")

    def after(self, step: int) -> Iterator[Batch]:
        """Batches from number `step` on, counted from 0."""
        pool, first = divmod(step, _BATCHES_PER_POOL)
        while True:
            yield from self._pool(pool)[first:]
            pool, first = pool + 1, 0

    def _pool(self, number: int) -> list[Batch]:
        epoch, place = divmod(number, self._pools)
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._problems))
        size = self._batch_size * _BATCHES_PER_POOL
        chosen = [self._problems[i] for i in order[place * size : (place + 1) * size]]
        chance = random.Random(f"{self._seed}/{number}")
        examples = [example for p in chosen if (example := self._example(p, chance)) is not None]
        examples.sort(key=lambda example: (len(example[1]), len(example[0])))
        groups = np.array_split(np.arange(len(examples)), _BATCHES_PER_POOL)
        chance.shuffle(groups)
        return [_collate([examples[i] for i in group]) for group in groups]

    def _example(
        self, problem: Problem, chance: random.Random
    ) -> tuple[list[int], list[int]] | None:
        """Source and target ids; `None` for the rare question beyond the form's places."""
        equation = parse(problem.question)
        try:
            source, target = prompt.write_digits(equation), work.write(equation, chance)
        except ValueError:
            return None
        return self._tokenizer.encode(source).ids, self._tokenizer.encode(target).ids


def _collate(examples: list[tuple[list[int], list[int]]]) -> Batch:
    sources, targets = zip(*examples, strict=True)
    return Batch(_padded(sources), _padded(targets))


def _padded(rows: Sequence[list[int]]) -> Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [PAD_ID] * (length - len(row)) for row in rows])
