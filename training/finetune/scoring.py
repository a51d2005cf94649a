"""Score a checkpoint on a task's monitored items, spread over all processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from tokenizers import Tokenizer
from transformers import T5ForConditionalGeneration

from training import checkpoint
from training.evaluate import generate
from training.finetune.examples import Examples, Indices
from training.finetune.tasks import Task

_BATCH = 64


def score(
    task: Task, folder: Path, accelerator: Accelerator, limits: tuple[int | None, int | None]
) -> dict[str, float]:
    """Return the task's scores of greedy answers, and `validation_loss`: the mean loss of a label
    token, without dropout or label smoothing. The same in every process.
    """
    if not task.monitored:
        return task.scores([])
    model, tokenizer = checkpoint.load(folder, device=accelerator.device)
    examples = Examples(task.monitored, tokenizer, task.pair, limits)
    by_length = np.argsort(examples.sources.lengths, kind="stable")
    mine = by_length[accelerator.process_index :: accelerator.num_processes]
    batches = [mine[start : start + _BATCH] for start in range(0, len(mine), _BATCH)]
    written: list[tuple[int, str]] = []
    loss = torch.zeros((), device=accelerator.device)
    for batch in batches:
        written += zip(batch.tolist(), _texts(model, tokenizer, examples, batch), strict=True)
        loss += _loss(model, examples, batch)
    texts = dict(gather_object(written))
    total = float(accelerator.reduce(loss, "sum")) / int(examples.targets.lengths.sum())
    scores = task.scores([texts[i] for i in range(len(task.monitored))])
    return {**scores, "validation_loss": total}


def _texts(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    examples: Examples,
    batch: Indices,
) -> list[str]:
    sources = [examples.sources.row(i).tolist() for i in batch]
    return [text for text, _ in generate(model, tokenizer, sources)]


@torch.no_grad()
def _loss(model: T5ForConditionalGeneration, examples: Examples, batch: Indices) -> torch.Tensor:
    """Return the sum of the losses of the label tokens."""
    inputs = {name: value.to(model.device) for name, value in examples.collate(batch).items()}
    mean: torch.Tensor = model(**inputs, use_cache=False).loss.float()
    return mean * examples.label_tokens(batch)
