"""Every question that models are scored on is held out of training, and every step of a system."""

from pathlib import Path

import pytest

from training import data
from training.data import Problem
from training.held_out import held_out_prompts

PROMPTS = {
    "Solve 3*f = 7 for f.": {"L+3x0^0 R+7k0^0"},
    "Solve 0.5x = 3 for x.": {"L+1x0^0 R+6k0^0"},
    "Solve 2*x + x + y = 7, x - y = 1 for x.": {
        "sums L+2x0^0 L+1x1^0",
        "L-3x0^0 L-1x1^0 R-7k0^0 R-1k1^0",
    },
    "Suppose 3*b - 5 = 10. Solve b*x = 15 for x.": {
        "L+3x0^0 L-5k0^0 R+1k1^1 R+0k1^0",
        "L+5x0^0 R+1k0^1 R+5k0^0",
    },
    "Solve 1234567890123*x = 1 for x.": set(),  # no prompt holds it
}


@pytest.mark.parametrize("split", data.EVALUATION_SPLITS)
def test_every_evaluation_split_is_held_out(tmp_path: Path, split: str) -> None:
    data.write(data.split_file(tmp_path, split), [Problem("Solve 3*f = 7 for f.", "7/3")])
    assert held_out_prompts(tmp_path) == {"L+3x0^0 R+7k0^0"}


@pytest.mark.parametrize("question", PROMPTS)
def test_a_question_is_held_out_step_by_step(tmp_path: Path, question: str) -> None:
    data.write(data.split_file(tmp_path, "easy"), [Problem(question, "0")])
    assert held_out_prompts(tmp_path) == PROMPTS[question]
