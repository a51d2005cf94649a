r"""Convert the hub's copy of the dataset to the files that training reads.

A field of the hub's copy is the text of a bytes literal, `b'Solve 24 = 1601*c - 1605*c for c.\n'`.
Its files are Parquet or JSON lines with the columns `question` and `answer`; the training split
mixes all difficulties.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyarrow import ArrowInvalid, parquet

from training import data
from training.data import DataError, Problem


def convert(training: Sequence[Path], test: Sequence[Path], out: Path) -> dict[str, int]:
    """Write `out/train` and `out/interpolate`; return the number of problems in each.

    Raises `DataError`, which names the file and row and what was expected.
    """
    counts = {}
    for split, paths in ((data.MIXED, training), (data.TEST_SPLIT, test)):
        problems = [problem for path in paths for problem in read(path)]
        data.write(data.split_file(out, split), problems)
        counts[split] = len(problems)
    return counts


def read(path: Path) -> Iterator[Problem]:
    """Return the problems of one file. Raises `DataError`."""
    for number, row in enumerate(_rows(path), start=1):
        try:
            problem = Problem(unwrapped(row["question"]), unwrapped(row["answer"]))
        except (KeyError, SyntaxError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}, row {number}: expected the text fields question and answer: {error}"
            ) from error
        if not problem.question.startswith("Solve "):
            start = problem.question[:60]
            raise DataError(f"{path}, row {number}: expected 'Solve ...', found {start!r}")
        yield problem


def unwrapped(field: str | bytes) -> str:
    r"""`b'17\n'`, as text or as bytes, to `17`; plain text stays.

    Raises `ValueError` or `SyntaxError` for a literal that is none.
    """
    if isinstance(field, str) and field[:2] in ("b'", 'b"'):
        field = ast.literal_eval(field)
    text = field.decode() if isinstance(field, bytes) else field
    if not isinstance(text, str):
        raise TypeError(f"found {type(text).__name__}")
    return text.strip()


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield rows one by one: two million Python objects should not be in memory twice."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.suffix == ".parquet":
        try:
            file = parquet.ParquetFile(path)
        except ArrowInvalid as error:
            raise DataError(f"{path}: not a Parquet file: {error}") from error
        with file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: expected a JSON object: {error}") from error
