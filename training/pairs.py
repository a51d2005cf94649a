"""Pairs of texts of one's own, from CSV, JSON Lines, Parquet, or a folder of `datasets`.

Every fault names the file and the line (in Parquet and Arrow files the row, from 1).
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from training.data import DataError

_STATE = "state.json"  # in a folder that `Dataset.save_to_disk` wrote; it names the Arrow files
_SPLITS = "dataset_dict.json"  # in the folder of a `DatasetDict`
Rows = Iterator[tuple[str, Mapping[str, Any]]]  # each row after its file and line


@dataclass(frozen=True)
class Pair:
    """A text that a model reads and the text that it should write."""

    source: str
    target: str


def read_pairs(path: Path, source: str, target: str, prefix: str = "") -> list[Pair]:
    """Return the pairs of a file, from the columns `source` and `target`; `prefix` goes before
    each source text.

    Raises `DataError` for a file that cannot be read, a column that is missing and an empty text.
    """
    try:
        pairs = [
            Pair(prefix + _text(row, source, place), _text(row, target, place))
            for place, row in _rows(path)
        ]
    except (OSError, pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}") from error
    if not pairs:
        raise DataError(f"{path}: no pairs; expected one a line")
    return pairs


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, or of the Arrow files of a folder."""
    digest = hashlib.sha256()
    for file in _arrow_files(path) if path.is_dir() else [path]:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _text(row: Mapping[str, Any], column: str, place: str) -> str:
    if column not in row:
        found = ", ".join(repr(name) for name in row)
        raise DataError(f"{place}: no column {column!r}; found {found}")
    value = row[column]
    if not isinstance(value, str):
        raise DataError(f"{place}: {column} is {value!r}; expected text")
    if not value.strip():
        raise DataError(f"{place}: {column} is empty; expected text")
    return value


def _rows(path: Path) -> Rows:
    if path.is_dir():
        return _arrow(path)
    if path.suffix not in _READERS:
        expected = ", ".join(_READERS)
        raise DataError(f"{path}: expected {expected} or a folder of `datasets`")
    return _READERS[path.suffix](path)


def _csv(path: Path) -> Rows:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        for row in rows:
            place = f"{path}:{rows.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{place}: expected {len(rows.fieldnames or ())} fields, as above")
            yield place, row


def _json_lines(path: Path) -> Rows:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            place = f"{path}:{number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{place}: {error.msg} at column {error.colno}") from error
            if not isinstance(row, dict):
                raise DataError(f"{place}: expected an object, found {line.strip()[:40]}")
            yield place, row


def _parquet(path: Path) -> Rows:
    with parquet.ParquetFile(path) as file:
        yield from _batches(path, file.iter_batches())


def _arrow(folder: Path) -> Rows:
    for path in _arrow_files(folder):
        with pa.memory_map(str(path)) as file:
            yield from _batches(path, pa.ipc.open_stream(file))


def _arrow_files(folder: Path) -> list[Path]:
    if (folder / _SPLITS).exists():
        splits = ", ".join(json.loads((folder / _SPLITS).read_text())["splits"])
        raise DataError(f"{folder}: a folder of splits; expected that of one: {splits}")
    if not (folder / _STATE).exists():
        raise DataError(f"{folder}: no {_STATE}; expected a folder that `datasets` saved")
    names = json.loads((folder / _STATE).read_text())["_data_files"]
    return [folder / name["filename"] for name in names]


def _batches(path: Path, batches: Iterator[pa.RecordBatch]) -> Rows:
    number = 0
    for batch in batches:
        for row in batch.to_pylist():
            number += 1
            yield f"{path}, row {number}", row


_READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
