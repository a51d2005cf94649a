"""PyTorch's answers of a checkpoint, to compare a bundle's with.

The model is loaded by transformers through the checkpoint's own class, apart from the code that the
graphs are written from: what the exporter misreads, the comparison finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoModelForSeq2SeqLM, PreTrainedModel

from engine.contracts import Tokens
from model_export.checkpoint.adapter import Adapter
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.generation import DEFAULTS
from model_export.checkpoint.reading import Checkpoint
from model_export.greedy import greedy
from model_export.rebuilding import rebuild

_BATCH = 64


@dataclass(frozen=True)
class Answer:
    """A greedy answer; `logprobs` has an entry for each token, and for the end token if it came."""

    tokens: list[int]  # without the end token
    logprobs: list[float]  # natural


class Reference:
    """The model of a checkpoint in PyTorch and fp32, decoding greedily."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the model. Raises `CheckpointError` if transformers would make up weights."""
        self.checkpoint = checkpoint
        self.model = _load(checkpoint)
        for name in DEFAULTS:  # the comparison is greedy
            setattr(self.model.generation_config, name, None)

    def answers(self, sources: Sequence[Tokens], max_new_tokens: int | None = None) -> list[Answer]:
        """Return the answers to `sources` (token ids, end token included).

        `max_new_tokens` defaults to the limit of the checkpoint.
        """
        limit = max_new_tokens or self.checkpoint.generation.max_new_tokens
        end = self.checkpoint.generation.eos_id
        answers: list[Answer] = []
        with tqdm(total=len(sources), desc="PyTorch", unit="row") as bar:
            for start in range(0, len(sources), _BATCH):
                chosen = _Chosen()
                batch = sources[start : start + _BATCH]
                rows = greedy(self.model, batch, max_new_tokens=limit, observer=chosen)
                answers += [
                    Answer(row, logprobs[: len(row) + (end in ids)])
                    for row, ids, logprobs in zip(rows, *chosen.rows(), strict=True)
                ]
                bar.update(len(rows))
        return answers


def _load(checkpoint: Checkpoint) -> PreTrainedModel:
    """Return the model by the class that `config.json` names; no code of the checkpoint's runs."""
    if checkpoint.from_graphs:  # for the ranges of int8: `graph_reference` is the reference
        return rebuild(checkpoint)
    model: PreTrainedModel
    facts: dict[str, Any]
    model, facts = AutoModelForSeq2SeqLM.from_pretrained(
        checkpoint.folder,
        dtype=torch.float32,
        trust_remote_code=False,
        weights_only=True,
        output_loading_info=True,
    )
    made_up = sorted(facts["missing_keys"]) + sorted(map(str, facts["mismatched_keys"]))
    if made_up:
        raise CheckpointError(
            f"{checkpoint.folder}: transformers initialises {len(made_up)} tensors anew, the first "
            f"is {made_up[0]}; the checkpoint is incomplete for this version of transformers"
        )
    if checkpoint.adapter:
        model = _with_adapter(model, checkpoint.adapter)
    return model.eval()


def _with_adapter(model: PreTrainedModel, adapter: Adapter) -> PreTrainedModel:
    """Return the model with a LoRA adapter merged by PEFT itself."""
    try:
        from peft import PeftModel  # noqa: PLC0415  for adapters alone
    except ImportError as error:
        raise CheckpointError(
            f"{adapter.folder}: a LoRA adapter is compared with PEFT's own answers; install peft"
        ) from error
    merged: PreTrainedModel = PeftModel.from_pretrained(model, adapter.folder).merge_and_unload()
    return merged


class _Chosen:
    """Observe greedy decoding: the likeliest token of every step and its log-probability."""

    def __init__(self) -> None:
        self._ids: list[Tensor] = []
        self._logprobs: list[Tensor] = []

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        logprobs, ids = scores.float().log_softmax(-1).max(-1)
        self._ids.append(ids)
        self._logprobs.append(logprobs)
        return scores

    def rows(self) -> tuple[list[list[int]], list[list[float]]]:
        """Return tokens and log-probabilities by row, those after the end token included."""
        ids: list[list[int]] = torch.stack(self._ids, 1).tolist()
        logprobs: list[list[float]] = torch.stack(self._logprobs, 1).tolist()
        return ids, logprobs
