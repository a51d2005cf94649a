"""The card of a fine-tuned model, from its run; its upload, to a hub by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from equations.verify import Verdict
from training.data import Problem
from training.errors import RunError
from training.finetune.card import push, write_card
from training.prediction import Prediction
from training.publish import publish

RIGHT = Prediction(Problem("Solve 2*x = 6 for x.", "3"), "3", "3", Verdict.CORRECT)
WRONG = Prediction(Problem("Solve 2*x = 8 for x.", "4"), "3", "3", Verdict.WRONG)


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    (tmp_path / "model-00000300").mkdir()
    (tmp_path / "model-00000300" / "config.json").write_text("{}")
    (tmp_path / "model").symlink_to("model-00000300")
    settings = {
        "base": "google/flan-t5-large", "prompt_format": "spaced", "batch_size": 128,
        "monitored": 500, "phases": [{"epochs": 3, "lr": 3e-4}, {"epochs": 2, "lr": 1e-4}],
    }  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "data.json").write_text(json.dumps({"generated": {"seed": 0}, "sha256": "abc"}))
    log = [{"step": 300, "loss": 0.25, "lr": 1e-4}, {"step": 300, "exact_match": 0.75}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log))
    return tmp_path


def test_a_card_says_what_the_run_was(run_folder: Path) -> None:
    text = write_card(run_folder).read_text()
    assert text.startswith("---\nbase_model: google/flan-t5-large\n")
    assert "3 epochs at 0.0003, then 2 epochs at 0.0001; 300 steps of 128 examples" in text
    assert "digits apart" in text
    assert "| 300 | 75.00% |" in text
    assert "SHA-256 `abc`" in text


def test_a_card_has_the_evaluation_s_figures(run_folder: Path) -> None:
    facts = {"command": "python -m training evaluate m"}
    publish([("interpolate", [RIGHT] * 3 + [WRONG])], facts, failures=0, folder=run_folder)
    text = write_card(run_folder, run_folder / "report.json").read_text()
    assert "| interpolate | 4 | **75.00%** | 30.06 to 95.44 | - |" in text
    assert "`python -m training evaluate m`" in text


def test_a_run_without_a_model_has_no_card(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no fine-tuned model yet"):
        write_card(tmp_path)


class FakeHub:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> None:
        self.calls.append((repo_id, exist_ok))

    def upload_folder(self, *, repo_id: str, folder_path: str) -> None:
        self.calls.append((repo_id, sorted(path.name for path in Path(folder_path).iterdir())))


def test_upload_is_of_the_model_s_folder(run_folder: Path) -> None:
    hub = FakeHub()
    push(write_card(run_folder).parent, "someone/model", hub)
    assert hub.calls == [("someone/model", True), ("someone/model", ["README.md", "config.json"])]
