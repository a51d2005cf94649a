"""Our checkpoints are read alike by transformers 4.57, transformers 5 and CTranslate2."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from tests.training.flan import T5_EMBEDDINGS, T5_TOKENIZER
from training import checkpoint
from training.__main__ import main
from training.model import PRESETS, SmallT5, save_plain
from training.vocabulary import Vocabulary

ROOT = Path(__file__).resolve().parents[2]
BASELINES = Path(os.environ.get("BASELINES", ".venv-baselines"))
SHIPPED = ROOT / "models" / "cybersolve-mini-checkpoint"
TEXTS = ["Solve 24 = 1601*c - 1605*c for c.", "Two words .", "{x} < 3\n"]
TARGETS = [[3, 7, 1], [40, 5, 9, 60, 1], [12, 1]]
KINDS = ["v1.1", "the first T5", "unscaled embeddings", "scaled head"]


def tiny(kind: str) -> T5ForConditionalGeneration:
    """Return a T5 of random weights: its head tied or not, its states scaled or not."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=T5_EMBEDDINGS, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_decoder_layers=2,
        num_heads=3, decoder_start_token_id=0, feed_forward_proj="gated-gelu",
        tie_word_embeddings=kind in ("the first T5", "scaled head"),
    )  # fmt: skip
    model = T5ForConditionalGeneration(config).eval()
    if kind in ("v1.1", "scaled head"):
        model.lm_head.weight = torch.nn.Parameter(torch.randn(T5_EMBEDDINGS, 16) * 0.3)
    return model


@torch.no_grad()
def logprobs(model: Any, ids: list[list[int]], targets: list[list[int]]) -> list[list[float]]:
    found = []
    for source, target in zip(ids, targets, strict=True):
        wanted = torch.tensor([target])
        logits = model(input_ids=torch.tensor([source]), labels=wanted).logits
        found.append(logits.log_softmax(-1).gather(-1, wanted[..., None]).flatten().tolist())
    return found


def assert_close(found: list[list[float]], expected: list[list[float]]) -> None:
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, abs=2e-4)


def others(folder: Path, texts: list[str], targets: list[list[int]]) -> dict[str, Any]:
    """Return what the baselines' environment reads."""
    script = ROOT / "tests" / "training" / "other_readers.py"
    request = json.dumps({"texts": texts, "targets": targets})
    done = subprocess.run(
        [str((ROOT / BASELINES / "bin" / "python").absolute()), str(script), str(folder), request],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_the_logits_that_were_saved(kind: str, tmp_path: Path) -> None:
    model, tokenizer = tiny(kind), Tokenizer.from_file(str(T5_TOKENIZER))
    ids = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
    expected = logprobs(model, ids, TARGETS)
    checkpoint.save(model, tokenizer, "text", tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)(TEXTS)["input_ids"] == ids
    read = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert_close(logprobs(read, ids, TARGETS), expected)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["tie_word_embeddings"] is (kind == "the first T5")
    assert "scale_decoder_outputs" not in config
    checkpoint.resave(tmp_path, tmp_path / "again")
    again, _ = checkpoint.load(tmp_path / "again")
    assert_close(logprobs(again, ids, TARGETS), expected)


@pytest.mark.baselines
@pytest.mark.parametrize("kind", KINDS)
def test_others_read_the_logits_that_were_saved(kind: str, tmp_path: Path) -> None:
    """More ids than the tokenizer has, as published T5s have them."""
    model, tokenizer = tiny(kind), Tokenizer.from_file(str(T5_TOKENIZER))
    checkpoint.save(model, tokenizer, "text", tmp_path)
    found = others(tmp_path, TEXTS, TARGETS)
    assert found["transformers"].startswith("4.57")
    ids = [encoding.ids for encoding in tokenizer.encode_batch(TEXTS)]
    assert found["ids"] == ids
    assert found["decoded"] == tokenizer.decode_batch(ids)
    expected = logprobs(model, ids, TARGETS)
    assert_close(found["pytorch"], expected)
    assert_close(found["ctranslate2"], expected)


@pytest.mark.baselines
def test_others_read_what_training_writes(tmp_path: Path) -> None:
    vocabulary = Vocabulary.digits()
    torch.manual_seed(0)
    model = SmallT5(PRESETS["test"], vocabulary).plain()
    save_plain(model, vocabulary.tokenizer(), tmp_path)
    compare_with_ours(tmp_path)


@pytest.mark.baselines
def test_others_read_the_shipped_checkpoint() -> None:
    compare_with_ours(SHIPPED)


def compare_with_ours(folder: Path) -> None:
    model, tokenizer = checkpoint.load(folder, device="cpu")
    texts = ["L+1x0^1 R+4k1^0", "R+4k1^0 L+2x0^0"]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    found = others(folder, texts, TARGETS[:2])
    assert found["ids"] == ids
    expected = logprobs(model, ids, TARGETS[:2])
    assert_close(found["pytorch"], expected)
    assert_close(found["ctranslate2"], expected)


def test_a_checkpoint_is_saved_again_in_its_place(tmp_path: Path) -> None:
    """The checkpoint is as transformers 5 writes one: the configuration changes, and no weight."""
    model = tiny("v1.1")
    model.save_pretrained(tmp_path)
    Tokenizer.from_file(str(T5_TOKENIZER)).save(str(tmp_path / "tokenizer.json"))
    before = (tmp_path / "model.safetensors").read_bytes()
    assert main(["resave", str(tmp_path), str(tmp_path)]) == 0
    assert (tmp_path / "model.safetensors").read_bytes() == before
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    ]  # fmt: skip
