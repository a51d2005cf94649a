"""Download a checkpoint from the Hugging Face hub: only the files that a conversion reads.

The environment variables of `huggingface_hub` apply: `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`,
`HF_HUB_OFFLINE`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from model_export.models.errors import ModelNotFound, PackageMissing

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")  # of a model on the hub: OWNER/NAME or NAME
_ADAPTER = "adapter_config.json"  # of a LoRA adapter, which names its base model
_ALWAYS = (
    "config.json",
    "generation_config.json",
    _ADAPTER,
    "adapter_model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "sentencepiece.model",
    "vocab.json",
    "merges.txt",
)
# The first kind of weights that a repository has is the one that is read.
_WEIGHTS = (
    ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model-*-of-*.bin", "pytorch_model.bin.index.json"),
    ("*.onnx", "*.onnx_data"),
)


def is_name(model: str) -> bool:
    """Return whether `model` could be the name of a model on the hub."""
    return _NAME.fullmatch(model) is not None


def download(name: str, revision: str | None = None) -> Path:
    """Return the folder of a model's files, downloading those that are not on this machine yet.

    `revision` is a branch, tag or commit; by default the main branch. The base model of a LoRA
    adapter is downloaded too. Raises `ModelNotFound`.
    """
    try:
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HTTPError
    except ModuleNotFoundError as error:
        raise PackageMissing(name, error) from error
    try:
        files = wanted(HfApi().list_repo_files(name, revision=revision))
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except HfHubHTTPError as error:
        raise ModelNotFound(_refusal(name, revision, error.response.status_code)) from error
    except (HTTPError, OSError, ValueError) as error:  # no connection, offline mode, a bad name
        raise ModelNotFound(
            f"{name}: there is no folder of that name, and the hub cannot be reached "
            f"({_first_line(error)}); give the folder of a checkpoint or of a bundle"
        ) from error
    if _ADAPTER in files and "config.json" not in files and (base := _base_of(folder / _ADAPTER)):
        download(base)  # to the hub's cache, where the reader of adapters looks for it
    return folder


def _base_of(adapter: Path) -> str | None:
    """Return the hub's name of an adapter's base model; faults are the reader's to name."""
    with suppress(AttributeError, ValueError):
        name = str(json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path"))
        return name if is_name(name) else None
    return None


def wanted(files: Collection[str]) -> list[str]:
    """Return those of a repository's files that a conversion reads."""
    chosen = [name for name in files if name in _ALWAYS]
    for patterns in _WEIGHTS:
        weights = [name for name in files if any(fnmatch(name, one) for one in patterns)]
        if weights:
            return sorted(chosen + weights)
    return sorted(chosen)


def _refusal(name: str, revision: str | None, status: int) -> str:
    at = f" at revision {revision}" if revision else ""
    if status in (401, 403):
        return (
            f"{name}{at}: the hub answers {status}: no such model, or one that needs a token; "
            "set HF_TOKEN to that of an account that may read it"
        )
    if status == 404:
        return f"{name}{at}: no such folder, and no such model on the hub"
    return f"{name}{at}: the hub answers {status}; try again later, or give a folder"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
