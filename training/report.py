"""Score a model's answers, split by split, as one JSON-like value. Pure.

Layout: `split`, `questions`, `exact` and `exact_match` are of the benchmark's test split (the first
one where that is missing); `splits` has the figures of each; `wrong` has examples.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import inf, sqrt
from statistics import median
from typing import Any

from training import calibration
from training.data import TEST_SPLIT
from training.grading import Graded, grade
from training.partial import PLACES, Step
from training.prediction import Prediction

NO_WORK, NO_NUMBER = "no worked form", "no number"
# Upper ends, inclusive, of the classes that absolute errors are counted in. Named for integers.
ERROR_CLASSES = {
    "up to 1": 1.0,
    "2 to 5": 5.0,
    "6 to 10": 10.0,
    "11 to 100": 100.0,
    "101 to 1000": 1000.0,
    "over 1000": inf,
}
_Z = 1.959964  # of a 95% interval
_BINS = 10


def report(
    results: Sequence[tuple[str, Sequence[Prediction]]], *, failures: int = 3
) -> dict[str, Any]:
    """Figures of each split's predictions, and up to `failures` wrong answers of each at random.

    No split may be empty. The second try has figures where any prediction at all has one.
    """
    graded = {split: [grade(prediction) for prediction in made] for split, made in results}
    tried = any(g.prediction.second is not None for rows in graded.values() for g in rows)
    splits = {split: _figures(rows, tried) for split, rows in graded.items()}
    headline = TEST_SPLIT if TEST_SPLIT in splits else next(iter(splits))
    return {
        "split": headline,
        **{key: splits[headline][key] for key in ("questions", "exact", "exact_match")},
        "splits": splits,
        "wrong": [
            case for split, rows in graded.items() for case in _examples(split, rows, failures)
        ],
    }


def wilson(right: int, questions: int) -> list[float]:
    """Both ends of the 95% score interval of a share (Wilson 1927)."""
    share, spread = right / questions, _Z**2 / questions
    centre = share + spread / 2
    reach = _Z * sqrt(share * (1 - share) / questions + spread / (4 * questions))
    low, high = ((centre + side * reach) / (1 + spread) for side in (-1, 1))
    return [round(max(0.0, low), 6), round(min(1.0, high), 6)]


def _figures(rows: Sequence[Graded], tried: bool) -> dict[str, Any]:
    wrong = [g for g in rows if not g.prediction.exact]
    return {
        **_share(len(rows) - len(wrong), len(rows)),
        "second_try": _share(sum(g.prediction.exact_second for g in rows), len(rows))
        if tried
        else None,
        "teacher_forced": _teacher_forced([g.prediction for g in rows]),
        "verdicts": dict(Counter(g.prediction.verdict.value for g in rows)),
        "partial": _partial(wrong),
        "first_failed": _first_failed(wrong) if any(g.worked for g in rows) else None,
        "absolute_error": _error_classes(wrong),
        "by_terms": _by_terms(rows),
        "confidence": _confidence([g.prediction for g in rows]),
    }


def _share(exact: int, questions: int) -> dict[str, Any]:
    return {
        "questions": questions,
        "exact": exact,
        "exact_match": round(exact / questions, 6),
        "interval": wilson(exact, questions),
    }


def _teacher_forced(predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """The research's figure, and the mean natural logarithm of the right answer's probability."""
    logprobs = [p.expected_logprob for p in predictions if p.expected_logprob is not None]
    if not logprobs:
        return None
    exact = sum(p.exact_teacher_forced for p in predictions)
    mean = round(sum(logprobs) / len(logprobs), 6)
    return {**_share(exact, len(predictions)), "expected_logprob": mean}


def _partial(wrong: Sequence[Graded]) -> dict[str, Any]:
    """Count the wrong answers that are right in part, digits as [right, of so many]."""
    parts = [g.partial for g in wrong]
    by_place = [[p.digits[place] for p in parts] for place in range(len(PLACES))]
    return {
        "wrong": len(parts),
        "no_number": sum(not p.is_number for p in parts),
        "sign_only": sum(p.sign_only for p in parts),
        "same_length": sum(p.same_length for p in parts),
        "digits": {
            name: [marks.count(True), len(marks) - marks.count(None)]
            for name, marks in zip(PLACES, by_place, strict=True)
        },
        "one_edit": sum(p.edits == 1 for p in parts),
        "mean_edits": round(sum(p.edits for p in parts) / len(parts), 3) if parts else None,
        "median_absolute_error": _median(p.absolute_error for p in parts),
        "median_relative_error": _median(p.relative_error for p in parts),
    }


def _median(errors: Iterable[Fraction | None]) -> float | None:
    known = [error for error in errors if error is not None]
    return round(float(median(known)), 6) if known else None


def _first_failed(wrong: Sequence[Graded]) -> dict[str, int]:
    counts = Counter(g.failed.value if g.failed else NO_WORK for g in wrong)
    return {name: counts[name] for name in (*(step.value for step in Step), NO_WORK)}


def _error_classes(wrong: Sequence[Graded]) -> dict[str, int]:
    counts = Counter(_error_class(g.partial.absolute_error) for g in wrong)
    return {name: counts[name] for name in (*ERROR_CLASSES, NO_NUMBER)}


def _error_class(error: Fraction | None) -> str:
    if error is None:
        return NO_NUMBER
    return next(name for name, most in ERROR_CLASSES.items() if error <= most)


def _by_terms(rows: Sequence[Graded]) -> dict[str, Any]:
    """Exact match by the number of terms; keys are text, as in JSON."""
    counts = Counter(g.terms for g in rows)
    exact = Counter(g.terms for g in rows if g.prediction.exact)
    return {str(terms): _share(exact[terms], counts[terms]) for terms in sorted(counts)}


def _confidence(predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """Return the calibration of the predictions with a confidence; `None` where none has one."""
    pairs = [(p.confidence, p.exact) for p in predictions if p.confidence is not None]
    if not pairs:
        return None
    confidences, exact = [c for c, _ in pairs], [e for _, e in pairs]
    bins = calibration.reliability(confidences, exact, _BINS)
    return {
        "questions": len(pairs),
        "mean": round(sum(confidences) / len(pairs), 6),
        "expected_calibration_error": round(calibration.expected_calibration_error(bins), 6),
        "brier": round(calibration.brier(confidences, exact), 6),
        "bins": [
            {**_share(b.right, b.questions), "confidence": round(b.confidence, 6)} for b in bins
        ],
    }


def _examples(split: str, rows: Sequence[Graded], most: int) -> list[dict[str, Any]]:
    wrong = [g for g in rows if not g.prediction.exact]
    shown = random.Random(0).sample(wrong, min(most, len(wrong)))
    return [
        {
            "split": split,
            "question": g.prediction.problem.question,
            "expected": g.prediction.problem.answer,
            "answer": g.prediction.answer,
            "failed": g.failed.value if g.failed else None,
            "text": g.prediction.text,
        }
        for g in shown
    ]
