"""The fine-tuning loop on tiny T5s: resumed, in parts, on two processes, stopped early, logged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tokenizers import Tokenizer
from transformers.models.t5.modeling_t5 import T5Block

from equations.formats import FORMATS
from tests.training.flan import T5_TOKENIZER, characters, write_flan
from training import checkpoint, data
from training.data import Problem
from training.divergence import Diverged
from training.errors import RunError
from training.finetune.examples import IGNORED, Examples
from training.finetune.loop import finetune
from training.finetune.plan import Layout, Phase, Settings
from training.finetune.tasks import Equations

ROOT = Path(__file__).resolve().parents[2]
SEED_EXAMPLE = Problem("Solve 24 = 1601*c - 1605*c for c.", "-6")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with dropout, which a resumed run must repeat."""
    folder = tmp_path_factory.mktemp("base")
    return write_flan(folder, characters(), 120, dropout_rate=0.1)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, problems: list[Problem]) -> Path:
    """100 training questions in one file, 6 of the test."""
    folder = tmp_path_factory.mktemp("small")
    data.write(data.split_file(folder, data.MIXED), problems[:100])
    data.write(data.split_file(folder, data.TEST_SPLIT), problems[100:106])
    return folder


def settings(base: Path) -> Settings:
    return Settings(str(base), (Phase(2, 1e-2), Phase(1, 3e-3)), batch_size=20, evaluate_every=99)


def run(
    chosen: Settings, small: Path, folder: Path, stop: int | None = None, parts: int = 1
) -> None:
    finetune(
        chosen,
        Layout(accumulate=parts),
        Equations.read(small, chosen),
        run_folder=folder,
        log_every=1,
        save_every=2,
        stop_after=stop,
    )


def losses(folder: Path) -> list[float]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = checkpoint.load(folder / "model")[0].state_dict()
    return state


def test_killed_and_resumed_equals_not_killed(base: Path, small: Path, tmp_path: Path) -> None:
    """In the middle of a phase, with dropout, and with what a kill leaves behind."""
    run(settings(base), small, tmp_path / "whole")
    run(settings(base), small, tmp_path / "parts", stop=4)
    with (tmp_path / "parts" / "log.jsonl").open("a") as log:
        log.write('{"step": 5, "loss": 99.0}\n{"step": 6, "lo')
    (tmp_path / "parts" / "checkpoints" / "step-00000006.partial").mkdir()
    (tmp_path / "parts" / "model-00000006").mkdir()
    run(settings(base), small, tmp_path / "parts")
    assert len(losses(tmp_path / "whole")) == 15
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert not torch.equal(whole["shared.weight"], whole["lm_head.weight"])
    left = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert left == [
        "checkpoints", "curve.png", "data.json", "log.jsonl", "model", "model-00000015",
        "settings.json", "tensorboard",
    ]  # fmt: skip
    assert [p.name for p in (tmp_path / "parts" / "checkpoints").iterdir()] == ["step-00000015"]


def not_json(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def test_a_run_that_diverges_keeps_what_was_good(base: Path, small: Path, tmp_path: Path) -> None:
    """Its second phase explodes: the model and the checkpoint of the first stay, and are finite."""
    chosen = replace(
        settings(base), phases=(Phase(1, 1e-2), Phase(1, 1e36)), evaluate_every=None, monitored=6
    )
    with pytest.raises(Diverged, match=r"step \d+: (loss|gradient norm|weight norm) is (nan|inf)"):
        run(chosen, small, tmp_path)
    assert (tmp_path / "model").readlink().name == "model-00000005"
    assert all(bool(weight.isfinite().all()) for weight in weights(tmp_path).values())
    assert [path.name for path in (tmp_path / "checkpoints").glob("step-*")] == ["step-00000004"]
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=not_json)


def test_a_batch_in_parts_is_the_same_batch(small: Path, tmp_path: Path) -> None:
    base = write_flan(tmp_path / "base", characters(), 120)
    run(settings(base), small, tmp_path / "one")
    run(settings(base), small, tmp_path / "four", parts=4)
    assert losses(tmp_path / "four") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_two_processes_equal_one(small: Path, tmp_path: Path) -> None:
    """The same global batch on one process, and on two that reduce gradients over gloo."""
    base = write_flan(tmp_path / "base", characters(), 120)
    chosen = replace(settings(base), evaluate_every=None, monitored=6)
    run(chosen, small, tmp_path / "one")
    flags = [
        "--base", str(base), "--data", str(small), "--run-folder", str(tmp_path / "two"),
        "--phases", "2:1e-2,1:3e-3", "--batch-size", "20", "--monitored", "6", "--log-every", "1",
    ]  # fmt: skip
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [sys.executable, *launcher, "-m", "training", "finetune", *flags],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True,
    )  # fmt: skip
    states = (tmp_path / "two" / "checkpoints" / "step-00000015").glob("random_states_*")
    assert len(list(states)) == 2  # they did find each other
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)


def test_a_run_ends_where_scores_do_not_rise(base: Path, small: Path, tmp_path: Path) -> None:
    """Random weights answer nothing right; the first score counts as a rise."""
    chosen = replace(settings(base), evaluate_every=1, patience=3)
    run(chosen, small, tmp_path)
    assert len(losses(tmp_path)) == 4
    run(chosen, small, tmp_path)
    assert len(losses(tmp_path)) == 4  # it stays ended


def test_tensorboard_shows_the_run(base: Path, small: Path, tmp_path: Path) -> None:
    """From a file of each start: their names tell no order within a second of one process."""
    run(settings(base), small, tmp_path, stop=3)
    run(settings(base), small, tmp_path, stop=5)
    scalars = []
    for file in (tmp_path / "tensorboard").glob("events*"):
        events = EventAccumulator(str(file))
        events.Reload()
        scalars += events.Scalars("loss")
    scalars.sort(key=lambda scalar: scalar.step)
    assert [scalar.step for scalar in scalars] == [1, 2, 3, 4, 5]
    assert [scalar.value for scalar in scalars] == pytest.approx(losses(tmp_path))


def test_mistakes_are_named(base: Path, small: Path, tmp_path: Path) -> None:
    run(settings(base), small, tmp_path / "run", stop=1)
    with pytest.raises(RunError, match="differs in seed"):
        run(replace(settings(base), seed=1), small, tmp_path / "run")
    with pytest.raises(RunError, match="expected a multiple of 3"):
        run(settings(base), small, tmp_path / "other", parts=3)
    with pytest.raises(RunError, match="there is no folder of that name, and the hub"):
        checkpoint.load(tmp_path / "missing")
    with pytest.raises(RunError, match="prompt format digits is for `training train`"):
        Equations.read(small, replace(settings(base), prompt_format="digits"))
    assert "mlflow" not in sys.modules


def test_fsdp_on_a_cpu_is_refused(
    base: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`accelerate launch --config_file training/finetune/fsdp.yaml` asks for FSDP in this way."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RunError, match="FSDP is asked for, on cpu; expected processes with a CUDA"):
        run(settings(base), small, tmp_path)
    assert not (tmp_path / "settings.json").exists()


def test_padding_counts_for_nothing(base: Path) -> None:
    """The loss of two examples together is that of their label tokens, each by itself."""
    model, tokenizer = checkpoint.load(base)
    long = Problem("Solve -11*y - 263*y + 3162 = -88*y for y.", "17")
    problems = [SEED_EXAMPLE, Problem("Solve x = 1000 for x.", "1000"), long]
    examples = Examples(problems, tokenizer, Equations("text", {}, [], []).pair)
    together = examples.collate(examples.sources.lengths.argsort())
    assert (together["labels"] == IGNORED).sum() == 4
    with torch.no_grad():
        mean = model(**together).loss
        each = [
            model(**examples.collate(torch.tensor([i]).numpy())).loss
            * examples.label_tokens(torch.tensor([i]).numpy())
            for i in range(3)
        ]
    torch.testing.assert_close(mean, sum(each) / (3 + 5 + 3))


def test_a_model_trains_on_the_pieces_of_the_research() -> None:
    """Recorded on google/flan-t5-large."""
    tokenizer = Tokenizer.from_file(str(T5_TOKENIZER))
    examples = Examples([SEED_EXAMPLE], tokenizer, Equations("text", {}, [], []).pair)
    source, target = (
        [tokenizer.id_to_token(id_) for id_ in texts.row(0)]
        for texts in (examples.sources, examples.targets)
    )
    assert source == [
        "▁Sol", "ve", "▁24", "▁=", "▁16", "01", "*", "c", "▁", "-", "▁16", "05", "*", "c", "▁for",
        "▁", "c", ".", "</s>",
    ]  # fmt: skip
    assert target == ["▁", "-6", "</s>"]


def test_digits_apart_are_a_piece_each_and_read_back(problems: list[Problem]) -> None:
    tokenizer = Tokenizer.from_file(str(T5_TOKENIZER))
    pieces = tokenizer.encode(FORMATS["spaced"].encode(SEED_EXAMPLE.question)).tokens
    assert "".join(pieces).count("▁1▁6▁0▁1*c▁-▁1▁6▁0▁5*c") == 1
    spaced = FORMATS["spaced"]
    for problem in problems[:300]:
        for piece in tokenizer.encode(FORMATS["spaced"].encode(problem.question)).tokens:
            assert sum(character.isdigit() for character in piece) <= 1
        assert spaced.write_answer is not None
        written = tokenizer.decode(tokenizer.encode(spaced.write_answer(problem.answer)).ids)
        assert FORMATS["spaced"].read(written).answer == problem.answer


def test_the_configuration_for_xl_is_one_that_accelerate_reads() -> None:
    """All that can be tested of it without GPUs: its keys, and the class that it wraps."""
    config = load_config_from_file(str(ROOT / "training" / "finetune" / "fsdp.yaml"))
    assert (config.distributed_type, config.mixed_precision) == ("FSDP", "bf16")
    assert config.fsdp_config["fsdp_transformer_layer_cls_to_wrap"] == T5Block.__name__
    flags = vars(launch_command_parser().parse_args(["script"]))
    assert set(config.fsdp_config) <= set(flags)
