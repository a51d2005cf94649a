"""Parquet files, read and written in pieces. Needs pyarrow, which the extra `parquet` installs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from service.bulk.rows import QUESTION, RESULT_KEYS, InputError, Row, kept_name, row
from service.bulk.text_formats import plain

_PIECE = 10_000  # rows in memory at a time
_EXACT = 2**53  # whole numbers up to here are exact as float64
_RESULT_TYPES = {
    "solution": pa.map_(pa.string(), pa.string()),
    "work": pa.list_(pa.string()),
    "confidence": pa.float64(),
    "tries": pa.int64(),
}
_RESULTS = pa.schema([(name, _RESULT_TYPES.get(name, pa.string())) for name in RESULT_KEYS])


def read_parquet(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises `InputError` if it has no column `question`."""
    number = 0
    with _opened(file) as table:
        for piece in table.iter_batches(_PIECE):
            for record in piece.to_pylist():
                number += 1
                yield row(record, f"row {number}")


def write_parquet(
    file: BinaryIO, columns: Sequence[str], records: Iterable[dict[str, Any]]
) -> None:
    """Write `columns` of `records`, which are read twice: for the types, then for the values.

    A column of the input has the type of its values if they share one, else their JSON as text.
    """
    kept = [name for name in columns if name not in RESULT_KEYS]
    kinds: dict[str, set[str]] = {name: set() for name in kept}
    for record in records:
        for name in kept:
            if (value := record.get(name)) is not None:
                kinds[name].add(_kind(value))
    types = {name: _type(found) for name, found in kinds.items()}
    schema = pa.schema([*types.items(), *_RESULTS])
    with pq.ParquetWriter(file, schema) as writer:
        rest = iter(records)
        while piece := [_typed(record, types) for record in islice(rest, _PIECE)]:
            writer.write_table(pa.Table.from_pylist(piece, schema))


def add_to_parquet(source: BinaryIO, file: BinaryIO, results: Iterable[dict[str, Any]]) -> None:
    """Write the columns of the Parquet file `source`, as they are, and those of `results`."""
    rest = iter(results)
    with _opened(source) as table:
        given = table.schema_arrow
        names = [kept_name(name, given.names) for name in given.names]
        kept = pa.schema([field.with_name(n) for field, n in zip(given, names, strict=True)])
        schema = pa.schema([*kept, *_RESULTS])
        with pq.ParquetWriter(file, schema) as writer:
            for piece in table.iter_batches(_PIECE):
                added = pa.Table.from_pylist(list(islice(rest, len(piece))), _RESULTS)
                arrays = [*pa.Table.from_batches([piece]).columns, *added.columns]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _opened(file: BinaryIO) -> pq.ParquetFile:
    try:
        table = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"not a Parquet file: {str(error).splitlines()[0]}") from error
    names = table.schema_arrow.names
    if QUESTION not in names:
        raise InputError(f"expected a column `{QUESTION}`; found {', '.join(names) or 'none'}")
    return table


def _kind(value: object) -> str:
    """Return the kind of column that holds `value` unchanged; `json` if none does."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        exact = abs(value) <= _EXACT
        return "int" if exact else "large int" if abs(value) < 2**63 else "json"
    return {float: "float", str: "text"}.get(type(value), "json")


def _type(kinds: set[str]) -> Any:
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds and kinds <= {"int", "large int"}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {"int", "float"} else pa.string()


def _typed(record: Mapping[str, Any], types: Mapping[str, Any]) -> dict[str, Any]:
    typed = dict(record)
    for name, kind in types.items():
        value = typed.get(name)
        if kind == pa.string() and value is not None and not isinstance(value, str):
            value = json.dumps(value, default=plain)
        if isinstance(value, str):
            value = value.encode("utf-8", "backslashreplace").decode()
        typed[name] = value
    return typed
