"""Tell what the texts of a task are to a tokenizer: their lengths, what is cut, what is lost."""

from __future__ import annotations

import sys

import numpy as np
from tokenizers import Tokenizer

from training.finetune.examples import Examples, Ragged
from training.finetune.tasks import Task
from training.finetune.unknown import lost_characters


def tell(task: Task, examples: Examples, tokenizer: Tokenizer) -> None:
    """Print the lengths of sources and targets, and a warning of characters that are lost."""
    for name, rows, cut in zip(
        ("sources", "targets"), (examples.sources, examples.targets), examples.cut, strict=True
    ):
        print(f"{name}: {_lengths(rows)}; {cut:,} of {len(examples):,} cut", file=sys.stderr)
    texts = (text for pair in map(task.pair, task.training) for text in (pair.source, pair.target))
    if lost := lost_characters(tokenizer, texts):
        shown = ", ".join(f"{one!r} (in {count:,} texts)" for one, count in sorted(lost.items()))
        print(f"warning: the vocabulary does not have {shown}", file=sys.stderr)


def _lengths(rows: Ragged) -> str:
    middle, most = np.percentile(rows.lengths, [50, 99], method="higher")
    return f"median {middle} tokens, 99% up to {most}, longest {rows.lengths.max()}"
