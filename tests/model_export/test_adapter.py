"""LoRA adapters of PEFT, merged: tokens and log-probabilities are PEFT's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM

from engine.bundle import REFERENCE, Limits
from model_export.__main__ import main
from model_export.assembly import Identity
from model_export.bundle import write_bundle
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import read_checkpoint, tokenizer_of
from model_export.greedy import greedy
from model_export.reference import Reference
from tests.model_export.family import change, flan
from tests.model_export.test_family import sources_for
from training import checkpoint

IDENTITY = Identity("adapted", "1", "none", "text", Limits(64, 8), {})
# What PEFT and transformers say of every T5 with a head of its own.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*no longer tied after merging.*:UserWarning"),
]


def write_adapter(folder: Path, **settings: object) -> Path:
    """Write a base model and an adapter whose products are far from zero."""
    base = folder / "base"
    base.mkdir()
    flan(base)
    model = AutoModelForSeq2SeqLM.from_pretrained(base)
    chosen = {"r": 4, "lora_alpha": 8, "target_modules": ["q", "v", "wo"], **settings}
    adapted = get_peft_model(model, LoraConfig(task_type="SEQ_2_SEQ_LM", **chosen))
    torch.manual_seed(1)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    adapted.save_pretrained(folder / "adapter")
    return folder / "adapter"


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "target_modules": "all-linear"}])
def test_answers_are_pefts(settings: dict[str, object], tmp_path: Path) -> None:
    folder = write_adapter(tmp_path, **settings)
    sources = sources_for(3_000, 1)[2:12:3]
    bundles = [tmp_path / "adapted", tmp_path / "plain"]
    for model, bundle in zip((folder, tmp_path / "base"), bundles, strict=True):
        manifest = write_bundle(model, bundle, IDENTITY, sources, lambda _: "card\n")
        assert manifest.provenance["parity"]["equal"] == len(sources)
    adapted, plain = ((bundle / REFERENCE).read_text() for bundle in bundles)
    assert adapted != plain


def test_the_base_may_be_beside_it(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    change(folder / "adapter_config.json", base_model_name_or_path="../base")
    assert read_checkpoint(folder).folder.resolve() == tmp_path / "base"
    assert tokenizer_of(folder).get_vocab_size() > 3_000


def test_training_and_the_command_read_it_merged(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    sources = sources_for(3_000, 1)[2:12:3]
    expected = Reference(read_checkpoint(folder)).answers(sources, 8)
    model, _ = checkpoint.load(folder, device="cpu")
    assert greedy(model, sources, max_new_tokens=8) == [answer.tokens for answer in expected]
    texts = tmp_path / "texts.txt"
    texts.write_text("Solve\nx = 3\n")
    command = f"export {folder} --texts {texts} --out {tmp_path / 'out'} --max-new-tokens 8"
    assert main([*command.split(), "--precision", "fp32"]) == 0


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("base_model_name_or_path", "google/none", "google/none is neither a folder here nor in"),
        ("use_dora", True, "use_dora is True, which is not merged here"),
        ("modules_to_save", ["lm_head"], r"modules_to_save is \['lm_head'\]"),
        ("peft_type", "IA3", "peft_type is 'IA3'; expected LORA"),
        ("r", 0, "expected numbers for r and lora_alpha"),
    ],
)
def test_another_kind_of_adapter_is_refused(
    setting: str, value: object, expected: str, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path)
    change(folder / "adapter_config.json", **{setting: value})
    with pytest.raises(CheckpointError, match=rf"adapter_config\.json: .*{expected}"):
        read_checkpoint(folder)


def test_tensors_of_an_adapter_must_fit_its_base(tmp_path: Path) -> None:
    folder = write_adapter(tmp_path)
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    first = next(name for name in weights if "lora_B" in name)
    cut = {**weights, first: weights[first][:8].clone()}
    save_file(cut, path)
    with pytest.raises(CheckpointError, match=r"the factors of .* are \(8, 4\)"):
        read_checkpoint(folder)
    save_file({**weights, "base_model.model.lm_head.bias": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match=r"lm_head\.bias belongs to no matrix"):
        read_checkpoint(folder)
    weights[first][0, 0] = float("nan")
    save_file(weights, path)
    with pytest.raises(CheckpointError, match="values that are NaN or infinite"):
        read_checkpoint(folder)
