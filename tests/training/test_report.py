"""Reports on made-up predictions, from figures to files."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image
from pyarrow import parquet

from equations import work
from equations.parser import parse
from training.data import Problem
from training.prediction import Prediction, judged
from training.publish import publish, summary
from training.report import report, wilson

SIX = Problem("Solve 2*x = 6*x - 24 for x.", "6")
FACTS = {"model": "m", "description": "Questions of d.", "command": "python -m training evaluate m"}


def bare(answer: str | None, confidence: float | None = None) -> Prediction:
    made = judged(SIX, answer or "", answer)
    return Prediction(made.problem, made.text, made.answer, made.verdict, confidence=confidence)


def worked(problem: Problem, answer: str) -> Prediction:
    """The right work, but for its last quotient digit."""
    text = work.write(parse(problem.question), Random(0)).rpartition("=")[0]
    return judged(problem, f"{text}={answer}", answer)


def test_a_split_is_counted() -> None:
    made = [bare("6"), bare("-6"), bare("9"), bare(None)]
    figures = report([("interpolate", made)])["splits"]["interpolate"]
    assert (figures["questions"], figures["exact"], figures["exact_match"]) == (4, 1, 0.25)
    assert figures["verdicts"] == {"correct": 1, "wrong": 3}
    assert figures["second_try"] is figures["first_failed"] is figures["confidence"] is None
    partial = figures["partial"]
    assert (partial["wrong"], partial["no_number"], partial["sign_only"]) == (3, 1, 1)
    assert partial["digits"] == {"units": [1, 3], "tens": [0, 0], "hundreds": [0, 0]}
    assert (partial["median_absolute_error"], partial["median_relative_error"]) == (7.5, 1.25)
    errors = {name: n for name, n in figures["absolute_error"].items() if n}
    assert errors == {"2 to 5": 1, "11 to 100": 1, "no number": 1}
    assert figures["by_terms"].keys() == {"3"}


def test_the_benchmark_comes_first_and_every_split_has_examples() -> None:
    result = report([("easy", [bare("6"), bare("5")]), ("interpolate", [bare("7")] * 9)])
    assert summary(result) == {
        "split": "interpolate",
        "questions": 9,
        "exact": 0,
        "exact_match": 0.0,
        "by_split": {"easy": 0.5, "interpolate": 0.0},
    }
    assert [case["split"] for case in result["wrong"]] == ["easy"] + ["interpolate"] * 3
    assert report([("hard", [bare("6")])])["split"] == "hard"


def test_the_second_try_counts_what_greedy_decoding_missed() -> None:
    def tried(answer: str, second: str | None) -> Prediction:
        made = bare(answer)
        return Prediction(SIX, made.text, made.answer, made.verdict, second=second)

    splits = report(
        [("easy", [bare("6")]), ("hard", [tried("5", "6"), tried("5", None), tried("6", None)])]
    )["splits"]
    assert splits["hard"]["second_try"]["exact"] == 2
    assert splits["hard"]["exact"] == 1
    assert splits["easy"]["second_try"]["exact"] == 1  # nothing to try, but comparable


def test_failed_steps_are_counted_among_wrong_answers() -> None:
    made = [worked(SIX, "6"), worked(SIX, "7"), bare("4")]
    counts = report([("easy", made)])["splits"]["easy"]["first_failed"]
    assert {name: n for name, n in counts.items() if n} == {"division": 1, "no worked form": 1}


def test_confidence_is_scored_where_there_is_any() -> None:
    made = [bare("6", 0.9), bare("6", 0.9), bare("5", 0.1), bare("5")]
    known = report([("easy", made)])["splits"]["easy"]["confidence"]
    assert known["questions"] == 3
    assert known["brier"] == pytest.approx(0.01)
    assert known["expected_calibration_error"] == pytest.approx(0.1)
    assert [b["questions"] for b in known["bins"]] == [1, 2]


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_hold_the_share_and_stay_in_bounds(counts: tuple[int, int]) -> None:
    right, questions = counts
    low, high = wilson(right, questions)
    assert 0 <= low <= right / questions + 1e-6
    assert right / questions - 1e-6 <= high <= 1
    assert low < high
    mirrored = wilson(questions - right, questions)
    assert (mirrored[0] + high, mirrored[1] + low) == pytest.approx((1, 1), abs=2e-6)


def test_an_interval_as_in_the_literature() -> None:
    """Newcombe 1998, table I: 81 of 263."""
    assert wilson(81, 263) == pytest.approx([0.2553, 0.3662], abs=5e-5)


def test_a_report_is_a_folder(tmp_path: Path) -> None:
    made = [
        *(worked(SIX, answer) for answer in ("6", "7", "60")),
        *(bare("6", 0.5 + i / 50) for i in range(20)),
        bare("a|b `c`", 0.2),
    ]
    results = [("interpolate", made), ("more-terms", made[:4])]
    figures = publish(results, FACTS, failures=5, folder=tmp_path / "report")
    folder = tmp_path / "report"
    assert json.loads((folder / "report.json").read_text()) == figures
    plots = {path.name for path in folder.glob("*.png")}
    assert plots == {
        "exact_match.png", "first_failed.png", "absolute_error.png", "by_terms.png",
        "reliability.png",
    }  # fmt: skip
    for name in plots:
        pixels = image.imread(folder / name)
        assert pixels.shape[1] == 1040
        assert pixels.std() > 0.05  # something is drawn
    text = (folder / "report.md").read_text()
    assert text.startswith(
        "# Evaluation of m\n\nQuestions of d.\n\n`python -m training evaluate m`"
    )
    assert "| interpolate | 24 | **87.50%** |" in text
    assert all(f"({name})" in text for name in plots)
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for one, other in pairwise(tables):  # every row is as wide as the row of dashes above it
        assert not one.startswith("| ---") or one.count("|") == other.count("|")


def test_every_prediction_is_a_row(tmp_path: Path) -> None:
    results = [("easy", [worked(SIX, "7"), bare("6", 0.75)]), ("hard", [bare(None)])]
    publish(results, FACTS, failures=0, folder=tmp_path)
    copied, right, nothing = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert (copied["split"], copied["first_failed"], copied["absolute_error"]) == (
        "easy", "division", 1.0,
    )  # fmt: skip
    assert (right["exact"], right["confidence"], right["units_right"]) == (True, 0.75, True)
    assert (nothing["split"], nothing["answer"], nothing["edits"]) == ("hard", None, 1)
    assert (nothing["relative_error"], nothing["coefficient_terms"]) == (None, 2)


def test_plots_without_figures_are_not_drawn_and_old_ones_go(tmp_path: Path) -> None:
    publish([("easy", [bare("5", 0.5)])], FACTS, failures=0, folder=tmp_path)
    publish([("easy", [bare("6")])], FACTS, failures=0, folder=tmp_path)
    assert [path.name for path in tmp_path.glob("*.png")] == ["exact_match.png"]
    assert "reliability" not in (tmp_path / "report.md").read_text()


def test_a_report_needs_no_folder() -> None:
    assert publish([("easy", [bare("6")])], FACTS, failures=0, folder=None)["exact"] == 1
