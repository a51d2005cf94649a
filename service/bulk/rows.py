"""Rows of bulk files: the input's keys, the result's keys, and both merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

QUESTION = "question"
RESULT_KEYS = (
    "answer", "solution", "verdict", "reason", "source", "work", "confidence", "tries", "error",
)  # fmt: skip
_RENAMED = "input_"


class BulkError(ValueError):
    """A run cannot start or finish; `str(error)` is one line for the user."""


class InputError(BulkError):
    """The input cannot be read as rows of questions."""


class OutputError(BulkError):
    """The output cannot, or must not, be written."""


@dataclass(frozen=True)
class Row:
    """One row of the input: its keys and values, and an error if it has no question."""

    record: dict[str, Any]
    error: str | None = None

    @property
    def question(self) -> str:
        """Return the text to solve, for a row without an `error`."""
        question: str = self.record[QUESTION]
        return question


def row(record: dict[str, Any], where: str) -> Row:
    """Return the row of `record`. Without a question it has an error that names `where`."""
    if QUESTION not in record:
        return Row(record, f'{where}: expected a key "{QUESTION}"')
    if not isinstance(record[QUESTION], str):
        return Row(record, f'{where}: expected text as "{QUESTION}"')
    return Row(record)


def merged(record: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return one row of the output: every key of the input, then those of the result.

    A key of the input with the name of a result is kept as `input_<name>`.
    """
    kept: dict[str, Any] = {}
    for name, value in record.items():
        kept[kept_name(name, record)] = value
    return {**kept, **result}


def kept_name(name: str, record: Mapping[str, Any] | list[str]) -> str:
    """Return the name in the output of the input's key `name`."""
    if name not in RESULT_KEYS:
        return name
    kept = _RENAMED + name
    while kept in record:
        kept = _RENAMED + kept
    return kept
