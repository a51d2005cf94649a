"""Bulk files: every key kept, a bad line in its place, whatever the format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bulk.formats import Answers, Format, read_rows, write_answers
from service.bulk.rows import RESULT_KEYS, InputError, Row, merged

RESULT = {
    "answer": "5", "solution": {"x": "5"}, "verdict": "correct", "reason": None, "source": "model",
    "work": ["3*x = 15", "x = 5"], "confidence": 0.5, "tries": 1,
}  # fmt: skip


def rows(raw: bytes, form: Format) -> list[Row]:
    return list(read_rows(io.BytesIO(raw), form))


def converted(raw: bytes, given: Format, wanted: Format) -> bytes:
    """The output where every question has `RESULT`."""
    output = io.BytesIO()
    asked = [RESULT for row in rows(raw, given) if row.error is None]
    write_answers(output, wanted, Answers(io.BytesIO(raw), given, asked))
    return output.getvalue()


def table(columns: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
NAMES = st.text(max_size=8) | st.sampled_from([*RESULT_KEYS, "input_answer", "input"])
RECORDS = st.dictionaries(NAMES, VALUES, max_size=5).flatmap(
    lambda record: st.text().map(lambda question: {**record, "question": question})
)


@given(st.lists(RECORDS, max_size=5))
def test_every_key_and_value_of_json_lines_is_kept(records: list[dict[str, Any]]) -> None:
    raw = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    written = converted(raw, Format.JSONL, Format.JSONL).splitlines()
    for record, line in zip(records, written, strict=True):
        found = json.loads(line)
        assert {name: found[name] for name in RESULT if name in found} == RESULT
        kept = {name: value for name, value in record.items() if name not in RESULT_KEYS}
        assert {name: found[name] for name in kept} == kept
        assert len(found) == len(record) + len(RESULT)


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4))
def test_a_key_with_the_name_of_a_result_has_another_name(extra: dict[str, int]) -> None:
    record = {"answer": 1, "input_answer": 2, "input_input_answer": 3, **extra}
    found = merged(record, {"answer": 4})
    assert found["answer"] == 4
    assert sorted(found.values()) == sorted([*record.values(), 4])


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_every_field_of_csv_is_kept(cells: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([("id", "question"), *cells])
    raw = text.getvalue().encode()
    found = list(csv.reader(io.StringIO(converted(raw, Format.CSV, Format.CSV).decode())))
    assert found[0] == ["id", "question", *RESULT_KEYS]
    assert [tuple(row[:2]) for row in found[1:]] == cells
    assert all(row[2:6] == ["5", '{"x": "5"}', "correct", ""] for row in found[1:])
    assert all(row[7] == "3*x = 15; x = 5" for row in found[1:])


@pytest.mark.parametrize(
    ("line", "kept", "error"),
    [
        (b"nonsense", {"input": "nonsense"}, "line 2: not JSON: Expecting value at character 1"),
        (b'{"query": 1}', {"query": 1}, 'line 2: expected a key "question"'),
        (b'{"question": 3}', {"question": 3}, 'line 2: expected text as "question"'),
        (b'["x = 1"]', {"input": ["x = 1"]}, "line 2: expected an object such as "),
        (b'{"question": "\xff"}', {"input": '{"question": "\\xff"}'}, "line 2: not JSON: 'utf-8'"),
        (b'{"a": NaN}', {"input": '{"a": NaN}'}, "line 2: not JSON: NaN is not a JSON number"),
        (b'{"a": 1e999}', {"input": '{"a": 1e999}'}, "line 2: not JSON: 1e999 is beyond"),
        (b"9" * 5000, {"input": "9" * 5000}, "line 2: not JSON: Exceeds the limit"),
        (b"[" * 10**6, {"input": "[" * 10**6}, "line 2: not JSON: nested too deeply"),
    ],
)  # fmt: skip
def test_a_bad_line_of_json_is_an_error_in_its_place(
    line: bytes, kept: dict[str, Any], error: str
) -> None:
    good = b'{"question": "x = 1"}'
    first, bad, last = rows(b"\n".join([good, line, b"", good]), Format.JSONL)
    assert first == last == Row({"question": "x = 1"})
    assert bad.record == kept
    assert bad.error is not None
    assert bad.error.startswith(error)


@pytest.mark.parametrize(
    ("line", "kept", "error"),
    [
        (b"7", {"id": "7"}, "line 2: 1 fields; expected 2"),
        (b"7,a,b", {"id": "7", "question": "a,b"}, "line 2: 3 fields; expected 2"),
        (b"7,\xff", {"id": "7", "question": "\\xff"}, "line 2: not UTF-8"),
        (b"7,a\rb", {}, "line 2: not CSV: new-line character seen"),
    ],
)
def test_a_bad_row_of_csv_is_an_error_in_its_place(
    line: bytes, kept: dict[str, Any], error: str
) -> None:
    raw = b"\n".join([b"\xef\xbb\xbfid,question", line, b"", b'8,"x\n= 1"'])
    bad, good = rows(raw, Format.CSV)
    assert good == Row({"id": "8", "question": "x\n= 1"})
    assert bad.record == kept
    assert bad.error is not None
    assert bad.error.startswith(error)


@pytest.mark.parametrize(
    ("raw", "form", "error"),
    [
        (b"", Format.CSV, "expected a column `question`; found none"),
        (b"a,b\n1,2\n", Format.CSV, "expected a column `question`; found a, b"),
        (b"question,a,a\n1,2,3\n", Format.CSV, "two columns have the same name"),
        (b"question", Format.PARQUET, "not a Parquet file: "),
        (table({"a": [1]}), Format.PARQUET, "expected a column `question`; found a"),
    ],
)
def test_a_file_that_is_none_of_questions_is_refused(raw: bytes, form: Format, error: str) -> None:
    with pytest.raises(InputError, match=error):
        rows(raw, form)


def test_parquet_keeps_the_types_of_its_columns() -> None:
    when = datetime(2026, 11, 26, tzinfo=UTC)
    columns = {
        "id": pa.array([1, 2], pa.uint8()),
        "question": ["3x = 15", None],
        "answer": pa.array([when, None], pa.timestamp("us", "UTC")),
        "price": [Decimal("1.10"), None],
    }
    found = pq.read_table(io.BytesIO(converted(table(columns), Format.PARQUET, Format.PARQUET)))
    given = pa.table(columns)
    assert found.column_names == ["id", "question", "input_answer", "price", *RESULT_KEYS]
    for name, kept in (("id", "id"), ("answer", "input_answer"), ("price", "price")):
        assert found[kept].equals(given[name])
    assert found["answer"].to_pylist() == ["5", None]
    assert found["error"].to_pylist() == [None, 'row 2: expected text as "question"']
    lines = converted(table(columns), Format.PARQUET, Format.JSONL).splitlines()
    assert json.loads(lines[0])["input_answer"] == "2026-11-26T00:00:00+00:00"
    assert json.loads(lines[0])["price"] == "1.10"


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2**62], pa.array([1, 2**62])),
        ([1, 2.5], pa.array([1.0, 2.5])),
        ([True, None], pa.array([True, None])),
        (["a", "b"], pa.array(["a", "b"])),
        ([1, "a"], pa.array(["1", "a"])),
        ([2**62, 0.5], pa.array([str(2**62), "0.5"])),
        ([2**70, 1], pa.array([str(2**70), "1"])),
        ([[1], {"b": 2}], pa.array(["[1]", '{"b": 2}'])),
        (["\ud800", "b"], pa.array(["\\ud800", "b"])),
    ],
)
def test_a_column_of_json_lines_has_the_type_of_its_values(
    values: Sequence[object], column: Any
) -> None:
    lines = [json.dumps({"question": "x = 1", "value": value}) for value in values]
    raw = "\n".join(lines).encode()
    found = pq.read_table(io.BytesIO(converted(raw, Format.JSONL, Format.PARQUET)))
    assert found["value"].combine_chunks().equals(column)
