import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import checkpoint, data
from training.__main__ import main
from training.batches import Batches
from training.data import Problem
from training.errors import RunError
from training.model import PRESETS, SmallT5, save_plain
from training.train import Settings, train
from training.vocabulary import PAD_ID, Vocabulary

SETTINGS = Settings(preset="test", steps=12, batch_size=8, warmup_steps=3, lr=5e-3)


def run(dataset: Path, folder: Path, settings: Settings, stop_after: int | None = None) -> None:
    train(
        settings,
        data_folder=dataset,
        run_folder=folder,
        log_every=2,
        save_every=3,
        evaluate_every=100,
        stop_after=stop_after,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)[
        "model"
    ]
    return state


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def test_killed_and_resumed_equals_not_killed(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "whole", SETTINGS)
    run(dataset, tmp_path / "halves", SETTINGS, stop_after=6)
    # What a kill leaves: a later log line without its checkpoint, a half-written checkpoint.
    with (tmp_path / "halves" / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "loss": 99.0}\n{"step": 9, "lo')
    (tmp_path / "halves" / "checkpoint.partial").write_bytes(b"half")
    run(dataset, tmp_path / "halves", SETTINGS)
    whole, halves = weights(tmp_path / "whole"), weights(tmp_path / "halves")
    assert whole.keys() == halves.keys()
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    assert losses(tmp_path / "whole") == losses(tmp_path / "halves")


def test_training_learns_and_leaves_a_checkpoint(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path, replace(SETTINGS, steps=40))
    curve = [loss for _, loss in losses(tmp_path)]
    assert curve[-1] < curve[0] - 0.5
    model, _ = checkpoint.load(tmp_path / "model")
    assert model.config.d_model == PRESETS["test"].d_model


def test_a_run_folder_keeps_to_its_settings(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path, SETTINGS, stop_after=1)
    with pytest.raises(RunError, match="differs in lr"):
        run(dataset, tmp_path, replace(SETTINGS, lr=1e-3))


def test_a_run_folder_keeps_to_its_data(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path / "run", SETTINGS, stop_after=1)
    other = tmp_path / "other"
    data.generate(other, train=600, test=5, seed=1, workers=1, show_progress=False)
    with pytest.raises(RunError, match="differs in generated, sha256"):
        run(other, tmp_path / "run", SETTINGS)


def test_batches_can_be_joined_anywhere(problems: list[Problem]) -> None:
    batches = Batches(problems[:900], Vocabulary.digits().tokenizer(), batch_size=8, seed=3)
    stream = batches.after(0)
    all_batches = [next(stream) for _ in range(130)]  # two epochs and a bit
    for step in (0, 1, 49, 50, 101):
        batch = next(batches.after(step))
        assert torch.equal(batch.source, all_batches[step].source)
        assert torch.equal(batch.target, all_batches[step].target)


def test_too_few_problems_are_refused(problems: list[Problem]) -> None:
    with pytest.raises(RunError, match="expected at least one pool of 400"):
        Batches(problems[:399], Vocabulary.digits().tokenizer(), batch_size=8, seed=0)


def test_padding_does_not_change_the_loss() -> None:
    torch.manual_seed(0)
    model = SmallT5(PRESETS["test"], Vocabulary.digits())
    source, target = torch.randint(3, 900, (2, 7)), torch.randint(3, 900, (2, 5))
    loss = model(source, target)
    padding = torch.full((2, 4), PAD_ID)
    padded = model(torch.cat([source, padding], 1), torch.cat([target, padding], 1))
    torch.testing.assert_close(loss, padded)


def test_the_plain_checkpoint_computes_the_same(tmp_path: Path) -> None:
    """Writing out the sums of factors changes nothing but rounding, also through a file."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    model = SmallT5(PRESETS["test"], vocabulary).eval()
    save_plain(model.plain(), vocabulary.tokenizer(), tmp_path)
    plain, _ = checkpoint.load(tmp_path)
    source = torch.randint(vocabulary.targets, len(vocabulary.tokens), (3, 9))
    target = torch.randint(3, vocabulary.targets, (3, 6))
    logits = plain(input_ids=source, labels=target).logits[..., : vocabulary.targets]
    expected = model(source, target)
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
    torch.testing.assert_close(found, expected)


def test_the_commands_work_in_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run_folder = str(tmp_path / "data"), str(tmp_path / "run")
    assert main(["data", "--out", folder, "--train", "450", "--test", "40", "--workers", "1"]) == 0
    arguments = ["--data", folder, "--run-folder", run_folder, "--preset", "test"]
    assert main(["train", *arguments, "--steps", "4", "--batch-size", "8"]) == 0
    report = tmp_path / "report"
    scored = main(
        ["evaluate", f"{run_folder}/model", "--data", folder, "--limit", "10", "--unseen-by",
         folder, "--report", str(report)]
    )  # fmt: skip
    assert scored == 0
    result = json.loads((report / "report.json").read_text())
    assert result["splits"].keys() == {"interpolate"}
    assert result["questions"] == 10
    assert sum(result["splits"]["interpolate"]["verdicts"].values()) == 10
    assert '"questions": 10' in capsys.readouterr().out
    assert main(["evaluate", f"{run_folder}/model", "--data", str(tmp_path)]) == 1
    assert "no questions to score" in capsys.readouterr().err


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(tmp_path), "--run-folder", str(tmp_path / "r")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "python -m training data" in error
