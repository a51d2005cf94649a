"""Read a whole checkpoint and refuse what does not fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from model_export.checkpoint.adapter import CONFIG as ADAPTER_CONFIG
from model_export.checkpoint.adapter import Adapter, read_adapter
from model_export.checkpoint.configuration import Configuration, parse_configuration
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import read_object
from model_export.checkpoint.generation import Generation, read_generation
from model_export.checkpoint.names import HEAD
from model_export.checkpoint.tensors import open_tensors
from model_export.checkpoint.tokenizer import has_tokenizer, read_tokenizer
from model_export.checkpoint.weights import Weights, check_weights

CONFIG = "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """A T5 whose files have been read and fit together."""

    folder: Path  # of an adapter's base model where there is an adapter
    adapter: Adapter | None
    raw: Mapping[str, Any]  # the content of `config.json`
    config: Configuration
    generation: Generation
    tokenizer: Tokenizer
    weights: Weights

    @property
    def from_graphs(self) -> bool:
        """True where the weights are those of graphs that optimum wrote."""
        return Path(self.weights.place(HEAD)).suffix == ".onnx"


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder; weights are read when they are asked for.

    Every value is looked at once, so that nothing that loads a checkpoint meets NaN or infinity.
    Raises `CheckpointError`.
    """
    parts = describe_checkpoint(folder)
    tokenizer = parts.tokenizer()
    tensors = open_tensors(parts.model)
    if parts.adapter:
        tensors = parts.adapter.merged(tensors)
    return Checkpoint(
        folder=parts.model,
        adapter=parts.adapter,
        raw=parts.raw,
        config=parts.config,
        generation=parts.generation,
        tokenizer=tokenizer,
        weights=check_weights(tensors, parts.config, str(folder)),
    )


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return the tokenizer of a checkpoint without its weights. Raises `CheckpointError`."""
    return describe_checkpoint(folder).tokenizer()


@dataclass(frozen=True)
class Description:
    """A checkpoint without its weights: what its small files say."""

    folder: Path
    model: Path  # the folder of the whole model
    adapter: Adapter | None
    raw: Mapping[str, Any]
    config: Configuration
    generation: Generation

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer; an adapter has its own, or its base model's."""
        place = self.folder if has_tokenizer(self.folder) else self.model
        return read_tokenizer(place, self.raw, self.generation.eos_id)


def describe_checkpoint(folder: Path) -> Description:
    """Return what the small files of a checkpoint say. Raises `CheckpointError`."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; expected that of a T5 checkpoint")
    alone = (folder / ADAPTER_CONFIG).exists() and not (folder / CONFIG).exists()
    adapter = read_adapter(folder) if alone else None
    model = adapter.base if adapter else folder
    if not (model / CONFIG).exists():
        raise CheckpointError(f"{model}: has no {CONFIG}; expected the folder of a T5 checkpoint")
    raw = read_object(model / CONFIG)
    config = parse_configuration(raw, model / CONFIG)
    return Description(folder, model, adapter, raw, config, read_generation(model, raw, config))
