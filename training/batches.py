"""Batches of the mixture as token ids. Batch `n` depends on the seed and `n` alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

import torch
from torch import Tensor

from equations import prompt, work
from training import mixture
from training.vocabulary import EOS_ID, PAD_ID, Vocabulary

_BATCHES_PER_POOL = 200  # examples of like lengths meet within a pool: 7% padding, 20% with 50

Example = tuple[list[int], list[int]]  # source and target ids


@dataclass(frozen=True)
class Batch:
    source: Tensor  # (batch, source length), int64, padded with PAD_ID
    target: Tensor  # (batch, target length), likewise


class Batches:
    """An endless, seekable stream of batches of about `batch_tokens` tokens, in pools of like
    lengths. No question whose prompt is in `held_out` occurs.
    """

    def __init__(
        self, vocabulary: Vocabulary, batch_tokens: int, seed: int, held_out: Collection[str] = ()
    ) -> None:
        self._ids = {token: index for index, token in enumerate(vocabulary.tokens)}
        self._batch_tokens = batch_tokens
        self._seed = seed
        self._held_out = frozenset(held_out)

    def after(self, step: int) -> Iterator[Batch]:
        """Batches from number `step` on, counted from 0."""
        pool, first = divmod(step, _BATCHES_PER_POOL)
        while True:
            yield from self._pool(pool)[first:]
            pool, first = pool + 1, 0

    def _pool(self, number: int) -> list[Batch]:
        random = Random(f"{self._seed}/{number}")
        wanted = self._batch_tokens * _BATCHES_PER_POOL
        examples: list[Example] = []
        while wanted > 0:
            if (example := self._example(random)) is not None:
                examples.append(example)
                wanted -= _tokens(example)
        examples.sort(key=lambda example: (len(example[1]) // 3, len(example[0])))
        batches = [_collate(group) for group in _equal_groups(examples)]
        random.shuffle(batches)
        return batches

    def _example(self, random: Random) -> Example | None:
        """Source and target ids; `None` for a question beyond the form's places, or held out."""
        question = mixture.sample(random)
        try:
            source = prompt.write_digits(question.equation)
            if source in self._held_out:
                return None
            target = work.write(question.equation, random, divide=question.divide)
        except ValueError:
            return None
        if not question.divide:
            source = f"{prompt.SUMS} {source}"
        return self._encoded(source), self._encoded(target)

    def _encoded(self, text: str) -> list[int]:
        return [*map(self._ids.__getitem__, text.split()), EOS_ID]


def _tokens(example: Example) -> int:
    return len(example[0]) + len(example[1])


def _equal_groups(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    """`_BATCHES_PER_POOL` neighbourhoods of about as many tokens each."""
    so_far = list(accumulate(map(_tokens, examples)))
    start = 0
    for group in range(1, _BATCHES_PER_POOL + 1):
        end = start + 1
        most = len(examples) - (_BATCHES_PER_POOL - group)  # none of those to come is empty
        while end < most and so_far[end] <= so_far[-1] * group / _BATCHES_PER_POOL:
            end += 1
        yield examples[start:end]
        start = end


def _collate(examples: Sequence[Example]) -> Batch:
    sources, targets = zip(*examples, strict=True)
    return Batch(_padded(sources), _padded(targets))


def _padded(rows: Sequence[list[int]]) -> Tensor:
    length = max(map(len, rows))
    return torch.tensor([row + [PAD_ID] * (length - len(row)) for row in rows])
