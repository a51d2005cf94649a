"""Open the files of a checkpoint; recognise those that were never downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_export.checkpoint.errors import CheckpointError

_POINTER = b"version https://git-lfs.github.com/spec/"  # the start of a Git LFS pointer file


def require_content(path: Path) -> Path:
    """Return `path` if it is a file with content of its own. Raises `CheckpointError`."""
    if not path.is_file():
        raise CheckpointError(f"{path}: missing")
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        raise CheckpointError(
            f"{path}: a Git LFS pointer, not the file itself; run `git lfs pull` in its repository"
        )
    if not start:
        raise CheckpointError(f"{path}: empty; download it again")
    return path


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises `CheckpointError`."""
    try:
        value = json.loads(require_content(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: expected JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value


def read_optional_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty one where there is no file."""
    return read_object(path) if path.exists() else {}
