"""JSON Lines and CSV, read and written row by row.

A malformed line becomes a `Row` with an error. Line numbers start at 1 and count blank lines, which
are otherwise ignored.
"""

from __future__ import annotations

import csv
import json
import math
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Any, BinaryIO, NoReturn

from service.bulk.rows import QUESTION, InputError, Row, row

_LONGEST_FIELD = 2**31 - 1  # bytes of a CSV field; the limit of Python's module is 131,072
_MARK = b"\xef\xbb\xbf"  # the byte order mark of UTF-8
_SHORT = 80  # characters of a number shown in an error


def read_jsonl(file: BinaryIO) -> Iterator[Row]:
    """Yield the objects of a JSON Lines file.

    The row of a line that is not an object holds the line itself as `input`.
    """
    for number, line in enumerate(file, start=1):
        raw = line.removeprefix(_MARK) if number == 1 else line
        if not raw.strip():
            continue
        where = f"line {number}"
        try:
            value = _decoder.decode(raw.decode())
        except RecursionError:
            yield Row({"input": _text(raw)}, f"{where}: not JSON: nested too deeply")
        except json.JSONDecodeError as error:
            fault = f"{error.msg} at character {error.pos + 1}"
            yield Row({"input": _text(raw)}, f"{where}: not JSON: {fault}")
        except ValueError as error:
            yield Row({"input": _text(raw)}, f"{where}: not JSON: {error}")
        else:
            if isinstance(value, dict):
                yield row(value, where)
            else:
                expected = f'{{"{QUESTION}": "..."}}'
                yield Row({"input": value}, f"{where}: expected an object such as {expected}")


def write_jsonl(file: BinaryIO, records: Iterable[dict[str, Any]]) -> None:
    for record in records:
        file.write(json_line(record))


def json_line(record: dict[str, Any]) -> bytes:
    """Return `record` as a line of JSON; other types of value are written as text."""
    return json.dumps(record, default=plain, allow_nan=False).encode() + b"\n"


def read_csv(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a CSV file (RFC 4180) in UTF-8 whose first row names the columns.

    Raises `InputError` if no column is called `question`.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(_csv_lines(file))
    names = _header(rows)
    while True:
        try:
            fields = next(rows, None)
        except csv.Error as error:
            yield Row({}, f"line {rows.line_num}: not CSV: {error}")
            continue
        if fields is None:
            return
        if fields:
            yield _csv_row(names, fields, f"line {rows.line_num}")


def csv_columns(file: BinaryIO) -> list[str]:
    """Return the names of the columns. Raises `InputError` as `read_csv` does."""
    return _header(csv.reader(_csv_lines(file)))


def _header(rows: Iterator[list[str]]) -> list[str]:
    names = next(rows, [])
    if QUESTION not in names:
        raise InputError(f"expected a column `{QUESTION}`; found {', '.join(names) or 'none'}")
    if len(set(names)) < len(names):
        raise InputError("two columns have the same name")
    return names


def _csv_lines(file: BinaryIO) -> Iterator[str]:
    """Yield lines. Bytes that are not UTF-8 become surrogates, so that one does not end the run."""
    for number, line in enumerate(file):
        raw = line.removeprefix(_MARK) if number == 0 else line
        yield raw.decode("utf-8", "surrogateescape")


def _csv_row(names: Sequence[str], fields: Sequence[str], where: str) -> Row:
    record: dict[str, Any] = dict(zip(names, map(_mended, fields), strict=False))
    if len(fields) > len(names):
        record[names[-1]] = ",".join(map(_mended, fields[len(names) - 1 :]))
    if len(fields) != len(names):
        return Row(record, f"{where}: {len(fields)} fields; expected {len(names)}")
    if any(map(_broken, fields)):
        return Row(record, f"{where}: not UTF-8")
    return row(record, where)


def write_csv(file: BinaryIO, columns: Sequence[str], records: Iterable[dict[str, Any]]) -> None:
    """Write `columns` of `records` with a header.

    Lists are joined by `; `, null is empty, and other values are JSON.
    """
    writer = csv.writer(_Encoded(file), lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        writer.writerow([_field(record.get(name)) for name in columns])


class _Encoded:
    """A text file on top of a binary one, for `csv.writer`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        self._file.write(text.encode("utf-8", "backslashreplace"))


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "; ".join(value)
    return json.dumps(value, default=plain, ensure_ascii=False)


def plain(value: object) -> str:
    """Return the text of a value that JSON cannot express (dates, decimals, bytes)."""
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _mended(text: str) -> str:
    r"""Return `text` with bytes that are not UTF-8 written as `\xNN`."""
    return _text(text.encode("utf-8", "surrogateescape")) if _broken(text) else text


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace").rstrip("\r\n")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_SHORT]} is beyond the range of numbers")
    return value


_decoder = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite)
