"""Read a whole checkpoint and refuse what does not fit together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from model_export.checkpoint.configuration import Configuration, parse_configuration
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.files import read_object
from model_export.checkpoint.generation import Generation, read_generation
from model_export.checkpoint.tensors import open_tensors
from model_export.checkpoint.tokenizer import read_tokenizer
from model_export.checkpoint.weights import Weights, check_weights

CONFIG = "config.json"


@dataclass(frozen=True)
class Checkpoint:
    """A T5 whose files have been read and fit together."""

    folder: Path
    raw: Mapping[str, Any]  # the content of `config.json`
    config: Configuration
    generation: Generation
    tokenizer: Tokenizer
    weights: Weights


def read_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder; weights are read when they are asked for.

    Every value is looked at once, so that nothing that loads a checkpoint meets NaN or infinity.
    Raises `CheckpointError`.
    """
    raw = _read_config(folder)
    config = parse_configuration(raw, folder / CONFIG)
    generation = read_generation(folder, raw, config)
    tokenizer = read_tokenizer(folder, raw, generation.eos_id)
    weights = check_weights(open_tensors(folder), config, str(folder))
    return Checkpoint(folder, raw, config, generation, tokenizer, weights)


def tokenizer_of(folder: Path) -> Tokenizer:
    """Return the tokenizer of a checkpoint without its weights. Raises `CheckpointError`."""
    raw = _read_config(folder)
    config = parse_configuration(raw, folder / CONFIG)
    return read_tokenizer(folder, raw, read_generation(folder, raw, config).eos_id)


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; expected that of a T5 checkpoint")
    if not (folder / CONFIG).exists():
        raise CheckpointError(f"{folder}: has no {CONFIG}; expected the folder of a T5 checkpoint")
    return read_object(folder / CONFIG)
