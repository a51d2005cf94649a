import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training import checkpoint, data, forward
from training.__main__ import main
from training.batches import Batches
from training.divergence import Diverged
from training.errors import RunError
from training.model import PRESETS, SmallT5, save_plain
from training.train import Settings, train
from training.vocabulary import EOS_ID, PAD_ID, Vocabulary
from training.warm_start import warm_start

SETTINGS = Settings(
    preset="test", steps=12, batch_tokens=400, warmup_steps=3, decay_steps=3, lr=5e-3
)


def run(dataset: Path, folder: Path, settings: Settings, stop_after: int | None = None) -> None:
    train(
        settings,
        data_folder=dataset,
        run_folder=folder,
        log_every=2,
        save_every=3,
        evaluate_every=100,
        monitored=20,
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
    recorded = json.loads((tmp_path / "model/config.json").read_text())["prompt_format"]
    assert recorded == "digits"


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


def test_a_run_that_diverges_writes_nothing_more(dataset: Path, tmp_path: Path) -> None:
    run(dataset, tmp_path, SETTINGS, stop_after=6)
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    state["model"]["t5.encoder.final_layer_norm.weight"][3] = torch.nan
    torch.save(state, path)
    before = path.read_bytes()
    with pytest.raises(Diverged, match="step 7: loss is nan; expected a finite number"):
        run(dataset, tmp_path, SETTINGS)
    assert path.read_bytes() == before


def test_weights_that_are_not_finite_are_not_saved(dataset: Path, tmp_path: Path) -> None:
    """The first step ends in weights whose squares are infinite, from a loss that is finite."""
    with pytest.raises(Diverged, match="step 1: weight norm is inf"):
        run(dataset, tmp_path, replace(SETTINGS, lr=1e30), stop_after=1)
    assert not (tmp_path / "checkpoint.pt").exists()
    assert not (tmp_path / "model").exists()


def test_batches_can_be_joined_anywhere() -> None:
    batches = Batches(Vocabulary.digits(), batch_tokens=100, seed=3)
    stream = batches.after(0)
    all_batches = [next(stream) for _ in range(430)]  # two pools and a bit
    for step in (0, 1, 199, 200, 401):
        batch = next(batches.after(step))
        assert torch.equal(batch.source, all_batches[step].source)
        assert torch.equal(batch.target, all_batches[step].target)


def test_held_out_questions_do_not_occur() -> None:
    tokens = Vocabulary.digits().tokens

    def prompts(held_out: set[str]) -> set[str]:
        stream = Batches(Vocabulary.digits(), 100, seed=3, held_out=held_out).after(0)
        rows = [row for _ in range(200) for row in next(stream).source.tolist()]
        return {" ".join(tokens[id_] for id_ in row if id_ > EOS_ID) for row in rows}

    some = {prompt for prompt in prompts(set()) if not prompt.startswith("sums")}
    assert len(some) > 100
    assert not some & prompts(some)


def test_the_forward_pass_is_transformers(tmp_path: Path) -> None:
    """Encoder and decoder states equal those of `T5ForConditionalGeneration`, padding aside."""
    torch.manual_seed(0)
    model = SmallT5(PRESETS["test"], Vocabulary.digits()).t5
    source, target = torch.randint(3, 900, (2, 70)), torch.randint(3, 900, (2, 90))
    source[1, 40:] = PAD_ID
    padded = source == PAD_ID
    expected = model.encoder(input_ids=source, attention_mask=~padded).last_hidden_state
    encoded = forward.encode(model, model.shared(source), padded)
    torch.testing.assert_close(encoded[~padded], expected[~padded], atol=1e-4, rtol=1e-4)
    decoded = model.decoder(
        input_ids=target, encoder_hidden_states=encoded, encoder_attention_mask=~padded
    ).last_hidden_state
    found = forward.decode(model, model.shared(target), encoded, padded)
    torch.testing.assert_close(found, decoded, atol=1e-4, rtol=1e-4)


def test_cross_entropy_has_the_loss_and_the_gradients_of_torch() -> None:
    torch.manual_seed(0)
    states, table = torch.randn(700, 8), torch.randn(30, 8)
    targets = torch.randint(0, 30, (700,))
    leaves = [states.requires_grad_(), table.requires_grad_()]
    loss = forward.cross_entropy(states, table, targets)
    expected = torch.nn.functional.cross_entropy(states @ table.T, targets)
    torch.testing.assert_close(loss, expected)
    for found, wanted in zip(
        torch.autograd.grad(3 * loss, leaves),
        torch.autograd.grad(3 * expected, leaves),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_a_warm_start_computes_what_its_base_does(tmp_path: Path) -> None:
    """Factors are recovered such that tokens of both vocabularies have their old embeddings."""
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    old, new = (SmallT5(PRESETS["test"], vocabulary) for _ in range(2))
    save_plain(old.plain(), vocabulary.tokenizer(), tmp_path)
    warm_start(new, tmp_path)
    source, target = torch.randint(4_000, 9_000, (2, 7)), torch.randint(3, 3_000, (2, 5))
    torch.testing.assert_close(
        new(source, target, torch.float32), old(source, target, torch.float32)
    )


def test_a_warm_start_needs_the_same_shape(tmp_path: Path) -> None:
    vocabulary = Vocabulary.digits()
    save_plain(SmallT5(PRESETS["test"], vocabulary).plain(), vocabulary.tokenizer(), tmp_path)
    wider = replace(PRESETS["test"], d_ff=128)
    with pytest.raises(RunError, match="another shape"):
        warm_start(SmallT5(wider, vocabulary), tmp_path)


def test_padding_does_not_change_the_loss() -> None:
    torch.manual_seed(0)
    model = SmallT5(PRESETS["test"], Vocabulary.digits())
    source, target = torch.randint(3, 900, (2, 7)), torch.randint(3, 900, (2, 5))
    loss = model(source, target, torch.float32)
    padding = torch.full((2, 4), PAD_ID)
    padded = model(torch.cat([source, padding], 1), torch.cat([target, padding], 1), torch.float32)
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
    expected = model(source, target, torch.float32)
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
    torch.testing.assert_close(found, expected)


def test_the_commands_work_in_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run_folder = str(tmp_path / "data"), str(tmp_path / "run")
    assert main(["data", "--out", folder, "--train", "450", "--test", "40", "--workers", "1"]) == 0
    arguments = ["--data", folder, "--run-folder", run_folder, "--preset", "test"]
    assert main(["train", *arguments, "--steps", "4", "--batch-tokens", "400"]) == 0
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
