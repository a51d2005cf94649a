"""Write every prediction as a row of a Parquet file, for analysis beyond the report."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from training.grading import Graded, grade
from training.partial import PLACES
from training.prediction import Prediction

_SCHEMA = pyarrow.schema(
    {
        "split": pyarrow.string(),
        "question": pyarrow.string(),
        "expected": pyarrow.string(),
        "text": pyarrow.string(),
        "answer": pyarrow.string(),
        "verdict": pyarrow.string(),
        "exact": pyarrow.bool_(),
        "second": pyarrow.string(),
        "exact_second": pyarrow.bool_(),
        "teacher_forced": pyarrow.string(),
        "exact_teacher_forced": pyarrow.bool_(),
        "expected_logprob": pyarrow.float64(),
        "logprob": pyarrow.float64(),
        "confidence": pyarrow.float64(),
        "coefficient_terms": pyarrow.int32(),
        "constant_terms": pyarrow.int32(),
        "is_number": pyarrow.bool_(),
        "sign_only": pyarrow.bool_(),
        "same_length": pyarrow.bool_(),
        **{f"{place}_right": pyarrow.bool_() for place in PLACES},
        "edits": pyarrow.int32(),
        "absolute_error": pyarrow.float64(),
        "relative_error": pyarrow.float64(),
        "first_failed": pyarrow.string(),
    }
)


def write_predictions(path: Path, results: Sequence[tuple[str, Sequence[Prediction]]]) -> None:
    """Write one row for each prediction, with its split and its partial correctness."""
    rows = [row(split, grade(prediction)) for split, made in results for prediction in made]
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=_SCHEMA), path, compression="zstd")


def row(split: str, graded: Graded) -> dict[str, Any]:
    """Return the columns of one row; errors are the nearest floats, absent values `None`."""
    prediction, partial = graded.prediction, graded.partial
    return {
        "split": split,
        "question": prediction.problem.question,
        "expected": prediction.problem.answer,
        "text": prediction.text,
        "answer": prediction.answer,
        "verdict": prediction.verdict.value,
        "exact": prediction.exact,
        "second": prediction.second,
        "exact_second": prediction.exact_second,
        "teacher_forced": prediction.teacher_forced,
        "exact_teacher_forced": prediction.exact_teacher_forced,
        "expected_logprob": prediction.expected_logprob,
        "logprob": prediction.logprob,
        "confidence": prediction.confidence,
        "coefficient_terms": graded.coefficients,
        "constant_terms": graded.constants,
        "is_number": partial.is_number,
        "sign_only": partial.sign_only,
        "same_length": partial.same_length,
        **{f"{place}_right": mark for place, mark in zip(PLACES, partial.digits, strict=True)},
        "edits": partial.edits,
        "absolute_error": _float(partial.absolute_error),
        "relative_error": _float(partial.relative_error),
        "first_failed": graded.failed.value if graded.failed else None,
    }


def _float(error: Fraction | None) -> float | None:
    return None if error is None else float(error)
