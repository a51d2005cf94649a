"""Checkpoints that cannot be served are refused in one line that names the fault."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LongT5Config,
    LongT5ForConditionalGeneration,
    SwitchTransformersConfig,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
)

from engine.contracts import Decoding
from model_export.__main__ import main
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.generation import read_generation
from model_export.checkpoint.reading import read_checkpoint
from model_export.convert import convert
from tests.model_export.family import change, flan, pickled, sharded, t5, umt5

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a good checkpoint, to be damaged."""
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    flan(folder)
    return folder


def fault(folder: Path) -> str:
    """Return the message with which a checkpoint is refused: one line that names its folder."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message.removeprefix(str(folder)).lstrip("/")


def change_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    edit(weights)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def test_the_command_prints_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8])
    texts = tmp_path / "texts.txt"
    texts.write_text("a\n")
    command = ["export", str(folder), "--texts", str(texts), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {folder / WEIGHTS}: truncated or damaged")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


# -- other architectures --------------------------------------------------------------------------

OTHERS = {
    "BART": BartConfig(d_model=16, encoder_layers=1, decoder_layers=1, vocab_size=64),
    "LongT5": LongT5Config(d_model=16, d_ff=16, num_layers=1, vocab_size=64),
    "Switch Transformers": SwitchTransformersConfig(d_model=16),
    "T5Gemma": T5GemmaConfig(),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_refused_by_name(name: str, tmp_path: Path) -> None:
    OTHERS[name].save_pretrained(tmp_path)
    message = fault(tmp_path)
    assert message.startswith(f"config.json: {name} (model_type '{OTHERS[name].model_type}')")
    assert message.endswith("expected one of t5, mt5, umt5")


def test_other_weights_under_the_name_of_a_t5_are_refused(folder: Path) -> None:
    """A real BART and a real LongT5, whose configurations have been written over."""
    bart = BartForConditionalGeneration(OTHERS["BART"])
    save_file({name: value.clone() for name, value in bart.state_dict().items()}, folder / WEIGHTS)
    assert "has no decoder" in fault(folder)
    config = {**json.loads((folder / "config.json").read_text()), "model_type": "longt5"}
    model = LongT5ForConditionalGeneration(LongT5Config(**config))
    state = model.state_dict()
    save_file({name: value.clone() for name, value in state.items()}, folder / WEIGHTS)
    assert "tensors are missing, the first is encoder.block.0.layer.0.Self" in fault(folder)


def test_an_encoder_alone_is_refused(folder: Path) -> None:
    config = T5Config(**json.loads((folder / "config.json").read_text()))
    T5EncoderModel(config).save_pretrained(folder)
    assert "T5EncoderModel does not generate text" in fault(folder)
    change(folder / "config.json", architectures=None)
    assert "has no decoder; an encoder-only model" in fault(folder)


def test_biases_of_every_layer_point_to_umt5(tmp_path: Path) -> None:
    umt5(tmp_path)
    change(tmp_path / "config.json", model_type="mt5")
    message = fault(tmp_path)
    assert "2 tensors that a mt5 of this configuration does not have" in message
    assert "umt5's: see model_type" in message


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("d_model", "wide", "d_model is 'wide'; expected a positive whole number"),
        ("num_heads", 0, "num_heads is 0"),
        ("d_ff", None, "d_ff is missing"),
        ("feed_forward_proj", "gated-tanh", "activation 'gelu_new'"),
        ("layer_norm_epsilon", -1, "layer_norm_epsilon is -1"),
        ("relative_attention_max_distance", 16, "relative_attention_max_distance is 16; expected"),
        ("model_type", None, "no model_type; expected t5, mt5, umt5"),
    ],
)
def test_a_setting_without_meaning_is_refused(
    setting: str, value: object, expected: str, folder: Path
) -> None:
    if setting == "feed_forward_proj":
        change(folder / "config.json", dense_act_fn=None)
        expected = "activation 'tanh'; expected one of relu, gelu, gelu_new, silu"
    change(folder / "config.json", **{setting: value})
    assert expected in fault(folder)


# -- tensors --------------------------------------------------------------------------------------


def test_missing_feed_forwards_are_counted(folder: Path) -> None:
    """They would be initialised at random: another model at each export."""

    def drop(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if "DenseReluDense" in name]:
            del weights[name]

    change_weights(folder, drop)
    message = fault(folder)
    assert "12 of 50 tensors are missing" in message
    assert "encoder.block.0.layer.1.DenseReluDense.wi_0.weight" in message


def test_a_head_that_is_promised_must_be_there(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.pop("lm_head.weight"))
    assert "lm_head.weight is missing, though config.json says" in fault(folder)


def test_unexpected_tensors_are_named(folder: Path) -> None:
    change_weights(folder, lambda weights: weights.update({"adapter.up": torch.zeros(2)}))
    assert "1 tensors that a t5 of this configuration does not have" in fault(folder)
    assert "adapter.up" in fault(folder)


def test_other_shapes_are_named(folder: Path) -> None:
    change(folder / "config.json", d_ff=64)
    assert "wi_0.weight has the shape (48, 32); config.json asks for (64, 32)" in fault(folder)


def test_embeddings_that_differ_are_refused(folder: Path) -> None:
    def add(weights: dict[str, torch.Tensor]) -> None:
        weights["encoder.embed_tokens.weight"] = weights["shared.weight"] + 1

    change_weights(folder, add)
    assert "encoder.embed_tokens.weight differs from shared.weight" in fault(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(value: float, folder: Path) -> None:
    name = "decoder.block.1.layer.0.SelfAttention.q.weight"

    def damage(weights: dict[str, torch.Tensor]) -> None:
        weights[name][3, 5] = value

    change_weights(folder, damage)
    message = fault(folder)
    assert f"{name} has 1 of 768 values that are NaN or infinite" in message


def test_weights_of_integers_are_refused(folder: Path) -> None:
    def quantise(weights: dict[str, torch.Tensor]) -> None:
        name = "encoder.block.0.layer.0.SelfAttention.q.weight"
        weights[name] = weights[name].to(torch.int8)

    change_weights(folder, quantise)
    assert "SelfAttention.q.weight is of type I8; expected bf16, fp16 or fp32" in fault(folder)


# -- files ----------------------------------------------------------------------------------------


def test_a_pointer_of_git_lfs_is_recognised(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\n")
    assert fault(folder).startswith(f"{WEIGHTS}: a Git LFS pointer")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
def test_a_damaged_file_is_named(name: str, folder: Path) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:-40])
    assert fault(folder).startswith(f"{name}: ")


def test_files_that_are_missing_are_named(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert fault(folder) == ": no weights; expected model.safetensors or pytorch_model.bin"
    (folder / "tf_model.h5").touch()
    assert fault(folder).startswith("tf_model.h5: weights of another framework")
    (folder / "config.json").unlink()
    assert "has no config.json" in fault(folder)
    with pytest.raises(CheckpointError, match="no such folder"):
        read_checkpoint(folder / "nowhere")


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    sharded(tmp_path)
    second = "model-00002-of-00002.safetensors"
    (tmp_path / second).rename(tmp_path / "elsewhere")
    assert fault(tmp_path) == f"{second}: missing"
    (tmp_path / second).write_bytes((tmp_path / second.replace("2-of", "1-of")).read_bytes())
    assert "which the index places there" in fault(tmp_path)


def test_a_shard_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    change(index, weight_map={"shared.weight": "../elsewhere.safetensors"})
    assert "is not a file of this folder" in fault(tmp_path)


class _Executed:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("executed",))


@pytest.mark.parametrize("zipped", [True, False])
def test_no_pickle_is_executed(
    zipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    t5(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    path = tmp_path / "pytorch_model.bin"
    if zipped:
        torch.save({"shared.weight": _Executed()}, path)
    else:
        path.write_bytes(pickle.dumps(_Executed(), protocol=2))
    assert fault(tmp_path).startswith("pytorch_model.bin: has more than weights in it")
    assert "executed" not in capsys.readouterr().out


def test_a_truncated_pickle_is_named(tmp_path: Path) -> None:
    pickled(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-1000])
    assert fault(tmp_path).startswith("pytorch_model.bin: truncated or damaged")


def test_a_vocabulary_must_fit_the_embeddings(folder: Path) -> None:
    change(folder / "config.json", vocab_size=3_000)
    assert "token ids up to 3424, but config.json's vocab_size is 3000" in fault(folder)


def test_a_checkpoint_needs_a_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer; expected tokenizer.json, spiece.model" in fault(folder)
    (folder / "spiece.model").write_bytes(b"\x0a\xff\xff\x03cut")
    assert "spiece.model: truncated or damaged" in fault(folder)


# -- generation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("forced_bos_token_id", 5, "forced_bos_token_id is 5, which is not supported"),
        ("begin_suppress_tokens", [7], "begin_suppress_tokens is [7]"),
        ("eos_token_id", [1, 7], "eos_token_id is [1, 7]; several end tokens"),
        ("decoder_start_token_id", 9_999, "decoder_start_token_id is 9999; expected an id below"),
        ("suppress_tokens", [-1], "suppress_tokens is -1"),
        ("max_new_tokens", 0, "max_new_tokens is 0"),
    ],
)
def test_settings_that_change_answers_are_refused_by_name(
    setting: str, value: object, expected: str, folder: Path
) -> None:
    change(folder / "generation_config.json", **{setting: value})
    message = fault(folder)
    assert message.startswith("generation_config.json: ")
    assert expected in message


@pytest.mark.parametrize(
    ("settings", "carried"),
    [
        ({"num_beams": 4, "length_penalty": 1.0, "do_sample": False}, {"num_beams": 4}),
        ({"num_beams": 4, "early_stopping": True}, {"num_beams": 4, "early_stopping": True}),
        ({"temperature": 0.7, "top_p": 0.9, "length_penalty": 2.0}, {}),  # greedy: of no effect
        ({"do_sample": True, "top_p": 0.9}, {"do_sample": True, "top_k": 50, "top_p": 0.9}),
        ({"min_length": 10}, {"min_new_tokens": 9}),
    ],
)
def test_settings_that_requests_can_make_are_carried(
    settings: dict[str, Any], carried: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    """To the bundle, whose defaults they are; those that change nothing are left out."""
    change(folder / "generation_config.json", **settings)
    assert read_checkpoint(folder).generation.decoding == carried
    if "num_beams" in settings:
        manifest = convert(folder, tmp_path / "out")
        assert Decoding(**manifest.decoding) == Decoding(**carried)


def test_defaults_that_cannot_be_decoded_are_refused(folder: Path) -> None:
    change(folder / "generation_config.json", num_beams=4, do_sample=True)
    assert "num_beams is 4; expected 1 with do_sample" in fault(folder)


def test_old_checkpoints_keep_their_settings_in_the_configuration(folder: Path) -> None:
    checkpoint = read_checkpoint(folder)
    (folder / "generation_config.json").unlink()
    raw = {**checkpoint.raw, "num_beams": 2}
    generation = read_generation(folder, raw, checkpoint.config)
    assert (generation.decoding, generation.eos_id) == ({"num_beams": 2}, 1)


# -- without torch --------------------------------------------------------------------------------


def test_reading_needs_neither_torch_nor_transformers(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from pathlib import Path\n"
        "from model_export.checkpoint.reading import read_checkpoint\n"
        "print(read_checkpoint(Path(sys.argv[1])).weights.parameters)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) == sum(value.numel() for value in load_file(folder / WEIGHTS).values())
