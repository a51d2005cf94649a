"""Encode pairs of texts as token ids, and assign them to batches by the seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from training.errors import RunError
from training.pairs import Pair

Item = TypeVar("Item")
IGNORED = -100  # label that the loss ignores; the research counted padding
_BATCHES_PER_POOL = 50  # examples are sorted by length within a pool, to save padding
_CHUNK = 10_000
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Rows of token ids in one flat array: 2 million questions take 100 MB."""

    ids: npt.NDArray[np.int32]
    ends: Indices

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        lengths = np.array([len(row) for row in rows], np.int64)
        flat = np.fromiter((i for row in rows for i in row), np.int32, int(lengths.sum()))
        return cls(flat, np.cumsum(lengths))

    @property
    def lengths(self) -> Indices:
        return np.diff(self.ends, prepend=0)

    def row(self, index: int) -> Tensor:
        start = self.ends[index - 1] if index else 0
        return torch.from_numpy(self.ids[start : self.ends[index]].astype(np.int64))

    def joined(self, other: Ragged) -> Ragged:
        last = self.ends[-1] if len(self.ends) else 0
        return Ragged(
            np.concatenate([self.ids, other.ids]), np.concatenate([self.ends, other.ends + last])
        )


class Examples:
    """The sources and targets of training items, end tokens included."""

    def __init__(
        self,
        items: Sequence[Item],
        tokenizer: Tokenizer,
        pair: Callable[[Item], Pair],
        limits: tuple[int | None, int | None] = (None, None),
        *,
        show_progress: bool = False,
    ) -> None:
        """Encode the texts of items, cut to `limits` (of a source and a target, in tokens)."""
        self.sources, self.targets = Ragged.of([]), Ragged.of([])
        self.cut = [0, 0]  # sources and targets that are longer than their limit
        chunks = range(0, len(items), _CHUNK)
        for start in tqdm(chunks, desc="tokens", unit="chunk", disable=not show_progress):
            pairs = [pair(item) for item in items[start : start + _CHUNK]]
            rows = []
            for side, texts in enumerate(
                ([one.source for one in pairs], [one.target for one in pairs])
            ):
                ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
                limit = limits[side]
                self.cut[side] += sum(limit is not None and len(row) > limit for row in ids)
                rows.append(Ragged.of([_cut(row, limit) for row in ids]))
            self.sources = self.sources.joined(rows[0])
            self.targets = self.targets.joined(rows[1])

    def __len__(self) -> int:
        return len(self.sources.ends)

    def label_tokens(self, indices: Indices) -> int:
        """Return the number of tokens of these examples that count in the loss."""
        return int(self.targets.lengths[indices].sum())

    def collate(self, indices: Indices) -> dict[str, Tensor]:
        """Return T5's inputs: (batch, length) each, int64, padded at the end."""
        sources = [self.sources.row(i) for i in indices]
        return {
            "input_ids": pad_sequence(sources, True),
            # By length: id 0 is a token of some vocabularies, as of MADLAD-400's.
            "attention_mask": pad_sequence([torch.ones_like(row) for row in sources], True),
            "labels": pad_sequence([self.targets.row(i) for i in indices], True, IGNORED),
        }


def _cut(row: list[int], limit: int | None) -> list[int]:
    """Return the first tokens of a row and its end token."""
    return row if limit is None or len(row) <= limit else [*row[: limit - 1], row[-1]]


class Order:
    """Epochs of shuffled batches of similar lengths; a run can resume at any step.

    Examples that do not fill a last batch are left out of that epoch.
    """

    def __init__(self, lengths: Indices, batch_size: int, seed: int) -> None:
        """Raise `RunError` for fewer examples than one batch."""
        self.steps_per_epoch = len(lengths) // batch_size
        if self.steps_per_epoch == 0:
            raise RunError(f"{len(lengths)} training examples; expected a batch of {batch_size}")
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed

    def after(self, step: int) -> Iterator[Indices]:
        """Yield the examples of each step from number `step` on, endlessly."""
        epoch, first = divmod(step, self.steps_per_epoch)
        while True:
            yield from self._epoch(epoch)[first:]
            epoch, first = epoch + 1, 0

    def _epoch(self, epoch: int) -> list[Indices]:
        chance = np.random.default_rng([self._seed, epoch])
        order = chance.permutation(len(self._lengths))[: self.steps_per_epoch * self._batch_size]
        pool = _BATCHES_PER_POOL * self._batch_size
        batches = [
            batch
            for start in range(0, len(order), pool)
            for batch in self._by_length(order[start : start + pool])
        ]
        return [batches[i] for i in chance.permutation(len(batches))]

    def _by_length(self, indices: Indices) -> list[Indices]:
        by_length = indices[np.argsort(self._lengths[indices], kind="stable")]
        return list(by_length.reshape(-1, self._batch_size))
