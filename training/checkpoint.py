"""Load and save T5 checkpoints, from a folder or the hub, and detect their prompt format."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration
from transformers.utils import logging

from equations import formats
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import read_checkpoint
from model_export.models.errors import ModelNotFound
from model_export.models.hub import download
from model_export.rebuilding import rebuild
from training.errors import RunError
from training.saving import write_checkpoint


def load(
    base: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | Literal["auto"] = torch.float32,
) -> tuple[T5ForConditionalGeneration, Tokenizer]:
    """Return the model in evaluation mode, on `device` (by default CUDA if there is one).

    `base` is a folder or the name of a repository on the hub. `model_export.checkpoint` decides
    whether it can be used. Weights of any stored type are read as `dtype`; "auto" keeps theirs.
    Raises `RunError`.
    """
    logging.disable_progress_bar()  # bars of transformers would break those of the commands
    try:
        checkpoint = read_checkpoint(_folder_of(base))
        if checkpoint.adapter or checkpoint.from_graphs:
            model = rebuild(checkpoint, torch.float32 if dtype == "auto" else dtype)
        else:
            model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint.folder, dtype=dtype).eval()
    except CheckpointError as error:
        raise RunError(str(error)) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{base}: {_first_line(error)}") from error
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return model, checkpoint.tokenizer


def _folder_of(base: str | Path) -> Path:
    """Return the folder of a checkpoint; that of the hub's cache for one on the hub.

    Raises `RunError`.
    """
    if Path(base).is_dir():
        return Path(base)
    try:
        return download(str(base))
    except ModelNotFound as error:
        raise RunError(str(error)) from error


def save(
    model: T5ForConditionalGeneration,
    tokenizer: Tokenizer,
    prompt_format: str | None,
    folder: Path,
    *,
    state: dict[str, torch.Tensor] | None = None,
) -> None:
    """Write a fine-tuned model with its format, if it has one.

    `state` replaces the model's weights.
    """
    if prompt_format is not None:
        setattr(model.config, formats.CONFIG_KEY, prompt_format)
    elif hasattr(model.config, formats.CONFIG_KEY):  # of a base that solved equations
        delattr(model.config, formats.CONFIG_KEY)
    write_checkpoint(model, tokenizer, folder, state=state)


def resave(base: str | Path, folder: Path) -> None:
    """Write a checkpoint anew, so that other libraries read it too; `folder` may be its own.

    Raises `RunError`.
    """
    model, tokenizer = load(base, device="cpu", dtype="auto")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent) as name:
        written = Path(name)
        write_checkpoint(model, tokenizer, written)
        folder.mkdir(exist_ok=True)
        for path in written.iterdir():
            path.replace(folder / path.name)


def format_of(model: T5ForConditionalGeneration, tokenizer: Tokenizer) -> str:
    """Return the name of the prompt format, see `equations.formats.detect`."""
    return formats.detect(getattr(model.config, formats.CONFIG_KEY, None), tokenizer.token_to_id)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
