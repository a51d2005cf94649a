"""PyTorch's answers to the questions where rounding cannot change the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import T5ForConditionalGeneration

from model_export.greedy import greedy

_BATCH = 32
_NEAR_TIE = 1e-3  # in logits; engines in fp32 differ by about 1e-5


def certain(
    checkpoint: Path, drawn: Sequence[list[int]], count: int
) -> list[tuple[list[int], list[int]]]:
    """Return the first `count` of the `drawn` sources that are answered without a near tie, each
    with its answer. Raises `ValueError` when there are too few of them.
    """
    model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    kept: list[tuple[list[int], list[int]]] = []
    with tqdm(total=count, desc="PyTorch's answers", unit="q") as bar:
        for start in range(0, len(drawn), _BATCH):
            batch = drawn[start : start + _BATCH]
            leads = _LeastLead(model.config.eos_token_id)
            answers = greedy(model, batch, observer=leads)
            for source, answer, lead in zip(batch, answers, leads.least.tolist(), strict=True):
                if lead > _NEAR_TIE and len(kept) < count:
                    kept.append((source, answer))
            bar.update(len(kept) - bar.n)
            if len(kept) == count:
                return kept
    raise ValueError(f"{len(kept)} of {len(drawn)} questions are no near ties; {count} needed")


class _LeastLead:
    """Observe by how much, in logits, each row's tokens lead the next likely ones, and keep the
    least.
    """

    def __init__(self, end: int) -> None:
        self.least = torch.tensor(math.inf)  # (rows,)
        self._end = end

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        first, second = scores.topk(2, dim=-1).values.unbind(-1)
        ended = (ids == self._end).any(-1)  # finished rows are padded, which is no choice
        self.least = torch.minimum(self.least, (first - second).masked_fill(ended, math.inf))
        return scores
