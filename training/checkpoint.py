"""Load and save T5 checkpoints, from a folder or the hub, and detect their prompt format."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, T5ForConditionalGeneration

from equations import formats
from training.errors import RunError
from training.saving import write_checkpoint


def load(
    base: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | Literal["auto"] = torch.float32,
) -> tuple[T5ForConditionalGeneration, Tokenizer]:
    """Return the model in evaluation mode, on `device` (by default CUDA if there is one).

    `base` is a folder or the name of a repository on the hub. Weights of any stored type are read
    as `dtype`; "auto" keeps theirs. Raises `RunError`.
    """
    folder = Path(base)
    if folder.is_dir() and not (folder / "config.json").exists():
        raise RunError(f"{folder} has no config.json; expected the folder of a T5 checkpoint")
    tokenizer = load_tokenizer(base)
    try:
        model = T5ForConditionalGeneration.from_pretrained(str(base), dtype=dtype).eval()
    except (OSError, ValueError) as error:
        raise RunError(f"{base}: {_first_line(error)}") from error
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer


def load_tokenizer(base: str | Path) -> Tokenizer:
    """Return the tokenizer of a checkpoint. Raises `RunError` if it has none."""
    folder = Path(base)
    if (folder / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    elif folder.is_dir():
        raise RunError(
            f"{folder} has no tokenizer.json; expected the folder of a T5 checkpoint "
            "(all of T5 1.1 and FLAN-T5 have the same: copy another's)"
        )
    else:
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(base)).backend_tokenizer
        except (OSError, ValueError) as error:
            raise RunError(
                f"{base} is neither a folder nor a model of the hub that can be read: "
                f"{_first_line(error)}"
            ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


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
