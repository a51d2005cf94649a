import os
import subprocess
import sys
from pathlib import Path

import pytest

from equations.parser import parse, parse_question
from training import data
from training.data import DataError, Problem


def test_questions_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        data.generate(
            folder, train=30, test=20, seed=7, workers=workers, chunk=4, show_progress=False
        )
    for split in (data.TEST_SPLIT, *data.TRAIN_SPLITS):
        one, two = (data.split_file(tmp_path / n, split).read_bytes() for n in ("1", "2"))
        assert one == two
    other = tmp_path / "other"
    data.generate(other, train=0, test=20, seed=8, workers=1, chunk=4, show_progress=False)
    test_file = data.split_file(other, data.TEST_SPLIT)
    assert test_file.read_bytes() != data.split_file(tmp_path / "1", data.TEST_SPLIT).read_bytes()


def test_test_questions_are_distinct_and_never_in_training_data(
    dataset: Path, problems: list[Problem]
) -> None:
    questions = {problem.question for problem in problems}
    assert len(questions) == len(problems) == 2_000
    training = data.read_training(dataset)
    assert len(training) == 1_200
    assert not questions & {problem.question for problem in training}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 questions of every evaluation split."""
    folder = tmp_path_factory.mktemp("fresh")
    data.generate(folder, train=0, test=60, evaluation=60, seed=7, workers=1, show_progress=False)
    return folder


def test_there_are_questions_of_every_difficulty(fresh: Path) -> None:
    assert data.evaluation_splits(fresh) == list(data.EVALUATION_SPLITS)
    files = [data.read(data.split_file(fresh, split)) for split in data.EVALUATION_SPLITS]
    assert {len(problems) for problems in files} == {60}
    distinct = {problem.question for problems in files for problem in problems}
    assert len(distinct) == len(data.EVALUATION_SPLITS) * 60
    for problem in (problem for problems in files for problem in problems):
        question = parse_question(problem.question)
        assert problem.is_system == (question.single() is None)
        assert question.asked is not None
        assert str(question.solve().values[question.asked]) == problem.answer


def test_other_splits_leave_the_test_questions_as_they_are(fresh: Path, tmp_path: Path) -> None:
    data.generate(tmp_path, train=0, test=60, seed=7, workers=1, show_progress=False)
    alone, together = (data.split_file(f, data.TEST_SPLIT) for f in (tmp_path, fresh))
    assert alone.read_bytes() == together.read_bytes()
    assert data.evaluation_splits(tmp_path) == [data.TEST_SPLIT]


def test_more_terms_are_as_long_as_those_of_hard_questions(fresh: Path) -> None:
    def digits(split: str) -> list[int]:
        """Return the digits of each term in all questions."""
        equations = [parse(p.question) for p in data.read(data.split_file(fresh, split))]
        return [len(str(term.size)) for e in equations for term in (*e.left, *e.right)]

    for problem in data.read(data.split_file(fresh, data.MORE_TERMS)):
        equation = parse(problem.question)
        terms = (*equation.left, *equation.right)
        with_variable = sum(term.is_coefficient for term in terms)
        assert 6 <= with_variable <= 8
        assert 6 <= len(terms) - with_variable <= 8
    more, hard = digits(data.MORE_TERMS), digits("hard")
    assert abs(sum(more) / len(more) - sum(hard) / len(hard)) < 0.4
    assert len(more) > 3 * len(hard)


def test_numbers_beyond_training_are_longer(fresh: Path) -> None:
    lengths = [
        sum(len(p.question) for p in data.read(data.split_file(fresh, split)))
        for split in ("easy", "medium", "hard", "beyond-12")
    ]
    assert lengths == sorted(lengths)


def test_a_seed_decides_every_letter_in_every_process(fresh: Path) -> None:
    """Python gives each process another order of sets, unless PYTHONHASHSEED fixes it."""
    program = "from training.data import _sample_chunk as s; print(*s('easy', 60, (7, 4, 0)))"
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert printed[0] == printed[1]
    assert data.read(data.split_file(fresh, "easy"))[0].question in printed[0]


@pytest.mark.parametrize("split", data.EVALUATION_SPLITS)
def test_training_data_leave_out_every_evaluation_question(tmp_path: Path, split: str) -> None:
    kept, held_out = Problem("Solve x = 1 for x.", "1"), Problem("Solve x = 2 for x.", "2")
    for training_split in data.TRAIN_SPLITS:
        data.write(data.split_file(tmp_path, training_split), [kept, held_out])
    before = data.describe(tmp_path)["sha256"]
    data.write(data.split_file(tmp_path, split), [held_out])
    assert data.read_training(tmp_path) == [kept] * 3
    assert data.describe(tmp_path)["sha256"] != before


def test_a_question_is_seen_under_any_name_of_its_variable(tmp_path: Path) -> None:
    seen, new = Problem("Solve 2*f = 4 for f.", "2"), Problem("Solve 2*r = 6 for r.", "3")
    for split in data.TRAIN_SPLITS:
        data.write(data.split_file(tmp_path, split), [seen])
    renamed = Problem("Solve 2*o = 4 for o.", "2")
    sides = data.training_sides(tmp_path)
    assert [problem.sides in sides for problem in (seen, renamed, new)] == [True, True, False]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Solve x = 1 for x.\n", "1 lines; expected a question and an answer in turn"),
        ("1\n1\n", ":1: expected 'Solve ...', found '1'"),
        ("Solve x = 1 for x.\n1\nSolve x = 3 for x.\nthree point zero\n",
         ":4: expected a number, found 'three point zero'"),
        ("Solve x = 1 for x.\n\n", ":2: expected a number, found ''"),
    ],
)  # fmt: skip
def test_files_of_another_layout_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=complaint):
        data.read(path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="python -m training data"):
        data.read(tmp_path / "missing.txt")


def test_no_worker_is_forked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A forked one waits for ever for a lock that a thread held."""

    def forked() -> int:
        raise AssertionError("a worker is forked")

    monkeypatch.setattr(os, "fork", forked)
    data.generate(tmp_path, train=0, test=4, seed=1, workers=1, show_progress=False)
