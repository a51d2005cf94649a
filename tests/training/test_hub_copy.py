"""The hub's copy of the dataset becomes the files that training reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from training import data
from training.__main__ import main
from training.data import DataError, Problem
from training.hub_copy import convert, read

ROWS = [
    {"question": "b'Solve 24 = 1601*c - 1605*c for c.\\n'", "answer": "b'-6\\n'"},
    {"question": 'b"Solve -11*y - 263*y + 3162 = -88*y for y.\\n"', "answer": "b'17\\n'"},
]
PROBLEMS = [
    Problem("Solve 24 = 1601*c - 1605*c for c.", "-6"),
    Problem("Solve -11*y - 263*y + 3162 = -88*y for y.", "17"),
]


def lines(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", [str, str.encode])
def test_parquet_of_literals_and_of_bytes(kind: object, tmp_path: Path) -> None:
    wrapped = ROWS if kind is str else [
        {"question": f"{p.question}\n".encode(), "answer": f"{p.answer}\n".encode()}
        for p in PROBLEMS
    ]  # fmt: skip
    path = tmp_path / "0000.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(wrapped), path)
    assert list(read(path)) == PROBLEMS


def test_the_command_writes_what_training_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = (
        lines(tmp_path / "train.jsonl", ROWS[:1]),
        lines(tmp_path / "test.jsonl", ROWS[1:]),
    )
    out = tmp_path / "out"
    arguments = ["--train", str(train), str(train), "--test", str(test), "--out", str(out)]
    assert main(["import", *arguments]) == 0
    assert "train: 2, interpolate: 1" in capsys.readouterr().out
    assert data.read_training(out) == PROBLEMS[:1] * 2
    assert data.read(data.split_file(out, data.TEST_SPLIT)) == PROBLEMS[1:]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"question": "b'Solve", "answer": "1"}, "row 1: expected the text fields"),
        ({"question": "b'What?'", "answer": "1"}, "row 1: expected 'Solve ...', found 'What\\?'"),
        ({"text": "Solve"}, "row 1: expected the text fields question and answer: 'question'"),
        ({"question": 3, "answer": "1"}, "found int"),
    ],
)
def test_a_row_of_another_layout_is_refused(
    row: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=complaint):
        convert([lines(tmp_path / "bad.jsonl", [row])], [], tmp_path / "out")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read(tmp_path / "missing.parquet"))
    (tmp_path / "bad.parquet").write_text("text")
    with pytest.raises(DataError, match="not a Parquet file"):
        list(read(tmp_path / "bad.parquet"))
    (tmp_path / "bad.jsonl").write_text("text\n")
    with pytest.raises(DataError, match="expected a JSON object"):
        list(read(tmp_path / "bad.jsonl"))
