"""Read the texts that a bundle is compared with PyTorch on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from engine.contracts import Tokens
from model_export.provenance import RunError

_TEXT = "text"  # as in a request of POST /generate


def read_texts(path: Path, count: int | None = None) -> list[str]:
    """Return the first `count` texts of a file: its lines that are not empty, or of a `.jsonl` file
    the `text` of each.

    Raises `RunError` for a file without texts, and for a line that is no object with a text.
    """
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
    numbered = [(number, line) for number, line in lines if line.strip()][:count]
    if not numbered:
        raise RunError(f"{path}: no text; expected one a line")
    if path.suffix != ".jsonl":
        return [line for _, line in numbered]
    return [_text_of(line, f"{path}, line {number}") for number, line in numbered]


def _text_of(line: str, where: str) -> str:
    expected = f'expected an object such as {{"{_TEXT}": "..."}}'
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise RunError(f"{where}: {error.msg} at character {error.pos + 1}; {expected}") from error
    text = found.get(_TEXT) if isinstance(found, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise RunError(f"{where}: no text; {expected}")
    return text


def read_questions(path: Path, count: int) -> list[str]:
    """Return the first `count` questions of a dataset file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    questions = [line for line in lines if line.startswith("Solve ")][:count]
    if not questions:
        raise RunError(f"{path}: no line starts with 'Solve '")
    return questions


def require_fit(sources: Sequence[Tokens], limit: int, remedy: str) -> None:
    """Raise `RunError`, which says the `remedy`, if the service would refuse one of `sources`."""
    longest = max(range(len(sources)), key=lambda i: len(sources[i]))
    if len(sources[longest]) > limit:
        raise RunError(
            f"text {longest + 1} of those compared has {len(sources[longest])} tokens; expected at "
            f"most {limit}: {remedy}"
        )
