"""What PyTorch answers, for the questions where rounding cannot change the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DynamicCache, EncoderDecoderCache, T5ForConditionalGeneration

_BATCH = 32
_NEAR_TIE = 1e-3  # in logits; engines in fp32 differ by about 1e-5


def certain(
    checkpoint: Path, drawn: Sequence[list[int]], count: int
) -> list[tuple[list[int], list[int]]]:
    """The first `count` of the `drawn` sources that are answered without a near tie, each with its
    answer. Raises `ValueError` when there are too few of them.
    """
    model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    kept: list[tuple[list[int], list[int]]] = []
    with tqdm(total=count, desc="PyTorch's answers", unit="q") as bar:
        for start in range(0, len(drawn), _BATCH):
            batch = drawn[start : start + _BATCH]
            for source, (answer, margin) in zip(batch, _generate(model, batch), strict=True):
                if margin > _NEAR_TIE and len(kept) < count:
                    kept.append((source, answer))
            bar.update(len(kept) - bar.n)
            if len(kept) == count:
                return kept
    raise ValueError(f"{len(kept)} of {len(drawn)} questions are no near ties; {count} needed")


@torch.no_grad()
def _generate(
    model: T5ForConditionalGeneration, batch: Sequence[list[int]]
) -> list[tuple[list[int], float]]:
    """For each row: its tokens without the end token, and the least lead of any token chosen."""
    length = max(map(len, batch))
    pad, end = model.config.pad_token_id, model.config.eos_token_id
    ids = torch.tensor([[*source, *[pad] * (length - len(source))] for source in batch])
    mask = torch.tensor([[1] * len(s) + [0] * (length - len(s)) for s in batch])
    written = model.generate(
        ids,
        attention_mask=mask,
        # A cache of its own: transformers sizes the default one by the number of encoder layers.
        past_key_values=EncoderDecoderCache(DynamicCache(), DynamicCache()),
        do_sample=False,
        output_scores=True,
        return_dict_in_generate=True,
    )
    leads = torch.stack([_lead(scores) for scores in written.scores], dim=1)  # (batch, steps)
    results = []
    for row, lead in zip(written.sequences[:, 1:].tolist(), leads.tolist(), strict=True):
        steps = row.index(end) + 1 if end in row else len(row)
        results.append((row[: row.index(end)] if end in row else row, min(lead[:steps])))
    return results


def _lead(scores: Tensor) -> Tensor:
    """(batch, tokens) -> (batch): by how much the most likely token leads the next."""
    first, second = scores.topk(2, dim=-1).values.unbind(-1)
    return first - second
