"""The model card, from the report of an evaluation."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.bundle import Architecture, Limits, Manifest, load_manifest
from equations.verify import Verdict
from model_export.__main__ import _evaluation
from model_export.card import write_card
from model_export.provenance import RunError
from service.settings import Settings
from training.data import Problem
from training.prediction import Prediction
from training.publish import publish

RIGHT = Prediction(Problem("Solve 2*x = 6 for x.", "3"), "=3", "3", Verdict.CORRECT)
WRONG = Prediction(Problem("Solve 2*x = 8 for x.", "4"), "=3", "3", Verdict.WRONG, second="4")
FACTS = {"description": "Questions of d.", "command": "python -m training evaluate m"}


def manifest(evaluation: object) -> Manifest:
    provenance = {
        "evaluation": evaluation,
        "parity": {"questions": 1000, "equal": 997},
        "training": {
            "settings": {}, "steps": 1, "examples": 64, "loss": 0.5, "hardware": "none",
            "data": {"generated": None, "sha256": "0" * 64},
        },
    }  # fmt: skip
    return Manifest(
        2, "test", "1.0.0", "digits", "work", "fp32", Architecture(1, 1, 8, 1234, 0, 1, 0),
        Limits(200, 96), (), provenance, {},
    )  # fmt: skip


def test_a_card_shows_every_split(tmp_path: Path) -> None:
    results = [("interpolate", [RIGHT] * 3 + [WRONG]), ("beyond-12", [WRONG])]
    publish(results, FACTS, failures=1, folder=tmp_path)
    evaluation = _evaluation(tmp_path / "report.json")
    assert evaluation["exact_match"] == 0.75
    card = write_card(manifest(evaluation))
    assert "| interpolate | 4 | **75.00%** | 30.06 to 95.44 | 100.00% |" in card
    assert "| beyond-12 | 1 | **0.00%** | 0.00 to 79.35 | 100.00% |" in card
    assert "Questions of d. Made by `python -m training evaluate m`." in card
    assert "PyTorch's tokens (fp32) for 997 of 1,000 questions" in card
    assert "  - beyond-12: `Solve 2*x = 8 for x.` expected 4, got 3" in card


def test_a_card_says_how_far_off_confidences_are_where_there_are_any(tmp_path: Path) -> None:
    sure = replace(RIGHT, confidence=0.9)
    results = [("interpolate", [sure, sure]), ("beyond-12", [WRONG])]
    publish(results, FACTS, failures=1, folder=tmp_path)
    card = write_card(manifest(_evaluation(tmp_path / "report.json")))
    assert "with alternatives | confidence off by |\n|---|---|---|---|---|---|\n" in card
    assert "| interpolate | 2 | **100.00%** | 34.24 to 100.00 | 100.00% | 0.100 |" in card
    assert "| beyond-12 | 1 | **0.00%** | 0.00 to 79.35 | 100.00% | - |" in card


def test_a_manifest_keeps_little_of_a_report(tmp_path: Path) -> None:
    """It is in every answer of `/info`."""
    publish([("interpolate", [RIGHT, WRONG])], FACTS, failures=1, folder=tmp_path)
    (figures,) = _evaluation(tmp_path / "report.json")["splits"].values()
    assert len(json.dumps(figures)) < 400


def test_a_report_of_another_layout_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text('{"questions": 4, "exact": 3}')
    with pytest.raises(RunError, match="evaluate with --report"):
        _evaluation(path)


def test_the_shipped_card_follows_from_its_manifest() -> None:
    """`python -m model_export describe models/cybersolve-mini` writes it again."""
    bundle = Settings().model
    assert (bundle / "README.md").read_text() == write_card(load_manifest(bundle))
