from pathlib import Path

import pytest

from training import data
from training.data import DataError, Problem


def test_questions_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        data.generate(folder, train=30, test=20, seed=7, workers=workers, show_progress=False)
    for split in data.SPLITS:
        one, two = (data.split_file(tmp_path / n, split).read_bytes() for n in ("1", "2"))
        assert one == two
    other = tmp_path / "other"
    data.generate(other, train=0, test=20, seed=8, workers=1, show_progress=False)
    test_file = data.split_file(other, data.TEST_SPLIT)
    assert test_file.read_bytes() != data.split_file(tmp_path / "1", data.TEST_SPLIT).read_bytes()


def test_test_questions_are_distinct_and_never_in_training_data(
    dataset: Path, problems: list[Problem]
) -> None:
    questions = {problem.question for problem in problems}
    assert len(questions) == len(problems) == 10_000
    training = data.read_training(dataset)
    assert len(training) == 6_000
    assert not questions & {problem.question for problem in training}


def test_training_data_leave_out_test_questions_of_official_files(tmp_path: Path) -> None:
    kept, held_out = Problem("Solve x = 1 for x.", "1"), Problem("Solve x = 2 for x.", "2")
    for split in data.TRAIN_SPLITS:
        data.write(data.split_file(tmp_path, split), [kept, held_out])
    data.write(data.split_file(tmp_path, data.TEST_SPLIT), [held_out])
    assert data.read_training(tmp_path) == [kept] * 3


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Solve x = 1 for x.\n", "1 lines; expected a question and an answer in turn"),
        ("1\nSolve x = 1 for x.\n", ":1: expected 'Solve ...', found '1'"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=complaint):
        data.read(path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="python -m training data"):
        data.read(tmp_path / "missing.txt")
