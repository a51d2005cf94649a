"""Find the format of a bulk file, and read and write all formats in one way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from service.bulk.rows import RESULT_KEYS, BulkError, Row, kept_name, merged
from service.bulk.text_formats import csv_columns, read_csv, read_jsonl, write_csv, write_jsonl


class Format(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


_EXTENSIONS = {
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
}


def format_of(path: Path, default: Format = Format.JSONL) -> Format:
    """Return the format that the extension of `path` names, else `default`."""
    return _EXTENSIONS.get(path.suffix.lower(), default)


def require(form: Format) -> None:
    """Raise `BulkError` if this installation cannot handle `form`."""
    if form is Format.PARQUET:
        _parquet()


def read_rows(file: BinaryIO, form: Format) -> Iterator[Row]:
    """Yield the rows of `file`. Raises `InputError` if it is not a file of questions."""
    if form is Format.JSONL:
        return read_jsonl(file)
    if form is Format.CSV:
        return read_csv(file)
    rows: Iterator[Row] = _parquet().read_parquet(file)
    return rows


class Answers:
    """The rows of an input with their results, in order; can be read more than once."""

    def __init__(self, source: BinaryIO, form: Format, results: Iterable[dict[str, Any]]) -> None:
        self.source = source
        self.form = form
        self._results = results

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.source.seek(0)
        results = iter(self._results)
        for row in read_rows(self.source, self.form):
            yield merged(row.record, result_of(row, results))

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the result of each row, without the keys of the input."""
        self.source.seek(0)
        results = iter(self._results)
        for row in read_rows(self.source, self.form):
            yield result_of(row, results)


def result_of(row: Row, results: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """Return the error of a row that could not be asked, else the next of `results`."""
    return next(results) if row.error is None else {"error": row.error}


def write_answers(file: BinaryIO, form: Format, answers: Answers) -> None:
    """Write every row of `answers` to `file`."""
    if form is Format.JSONL:
        write_jsonl(file, answers)
    elif form is Format.CSV:
        write_csv(file, _columns(answers), answers)
    elif answers.form is Format.PARQUET:
        answers.source.seek(0)
        _parquet().add_to_parquet(answers.source, file, answers.results())
    else:
        _parquet().write_parquet(file, _columns(answers), answers)


def _columns(answers: Answers) -> list[str]:
    """Return the keys of the input in order of appearance, then those of results."""
    names: dict[str, None] = {}
    if answers.form is Format.CSV:  # which has columns even without rows
        answers.source.seek(0)
        given = csv_columns(answers.source)
        names |= dict.fromkeys(kept_name(name, given) for name in given)
    for record in answers:
        names |= dict.fromkeys(record)
    return [*(name for name in names if name not in RESULT_KEYS), *RESULT_KEYS]


def _parquet() -> ModuleType:
    try:
        from service.bulk import parquet
    except ImportError as error:
        raise BulkError(
            f"Parquet needs pyarrow, which the extra `parquet` installs: {error}"
        ) from error
    return parquet
