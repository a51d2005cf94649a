"""Questions from, and answers to, JSON Lines and Parquet. By suffix: .parquet, else JSON Lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from service.bulk import InputError, read_questions

_TEXTS = ("question", "answer", "verdict", "reason", "source", "error")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        ("work", pa.list_(pa.string())),
        ("confidence", pa.float64()),
        ("tries", pa.int64()),
    ]
)


def questions(path: Path) -> Iterator[str]:
    """The column or key `question`, row by row. Raises `InputError` with the row."""
    if path.suffix != ".parquet":
        yield from read_questions(path)
        return
    row = 0
    with pq.ParquetFile(path) as file:
        if "question" not in file.schema_arrow.names:
            raise InputError(f"{path}: no column `question`")
        for batch in file.iter_batches(columns=["question"]):
            for question in batch.column(0).to_pylist():
                row += 1
                if not isinstance(question, str):
                    raise InputError(f"{path}: row {row}: expected text")
                yield question


def count(path: Path) -> int:
    """How many rows, as cheaply as the format allows."""
    if path.suffix == ".parquet":
        rows: int = pq.read_metadata(path).num_rows
        return rows
    with path.open("rb") as file:
        return sum(1 for _ in file)


def write(target: Path, parts: Sequence[Path]) -> None:
    """The parts (JSON Lines), one after the other, as one file; it appears whole or not at all."""
    unfinished = target.with_name(f"{target.name}.unfinished")
    if target.suffix == ".parquet":
        with pq.ParquetWriter(unfinished, SCHEMA) as writer:
            for part in parts:
                rows = [json.loads(line) for line in part.read_text().splitlines()]
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    else:
        with unfinished.open("wb") as output:
            for part in parts:
                output.write(part.read_bytes())
    os.replace(unfinished, target)
