"""Conversion on a machine without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config

from engine.bundle import REFERENCE, Limits, load_manifest
from model_export.assembly import Identity
from model_export.bundle import write_bundle
from model_export.checkpoint.errors import CheckpointError, ConversionError
from model_export.convert import convert
from model_export.parity import engine_answers
from tests.model_export.family import TOKENIZER, flan, write_member, write_model
from tests.model_export.test_bundle import SHIPPED

BUNDLE = SHIPPED.with_name("cybersolve-mini")
CODE = """
import sys
sys.modules["torch"] = sys.modules["transformers"] = None
from pathlib import Path
from model_export.checkpoint.errors import CheckpointError
from model_export.convert import convert
convert(Path(sys.argv[1]), Path(sys.argv[2]), precision=sys.argv[3])
"""


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_bundle_is_written_without_torch(precision: str, tmp_path: Path) -> None:
    """Its graphs are those that export proves against PyTorch."""
    folder = write_member("mT5", tmp_path / "mine")
    subprocess.run(
        [sys.executable, "-c", CODE, str(folder), str(tmp_path / "out"), precision], check=True
    )
    manifest = load_manifest(tmp_path / "out")
    assert (manifest.name, manifest.precision, manifest.solves) == ("mine", precision, False)
    assert "has not been compared" in " ".join((tmp_path / "out/README.md").read_text().split())
    identity = Identity("mine", "1", "none", "text", manifest.limits, {}, precision)
    sources = [case["source"] for case in json.loads((tmp_path / "out" / REFERENCE).read_text())]
    proved = tmp_path / "proved"  # in fp16 random weights often differ within 256 tokens
    write_bundle(folder, proved, identity, sources, lambda _: "card\n", least_equal=0.0)
    for name in ("encoder.onnx", "decoder.onnx", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (proved / name).read_bytes()


def test_int8_needs_no_texts(tmp_path: Path) -> None:
    """Rows scaled by themselves answer as the shipped bundle does, whose scales are calibrated."""
    manifest = convert(SHIPPED, tmp_path / "out", precision="int8", limits=Limits(400, 500))
    assert (manifest.precision, manifest.limits) == ("int8", Limits(400, 500))
    cases = json.loads((BUNDLE / REFERENCE).read_text())
    found = engine_answers(tmp_path / "out", manifest, [case["source"] for case in cases])
    equal = sum(answer.tokens == case["tokens"] for answer, case in zip(found, cases, strict=True))
    assert equal >= 0.75 * len(cases)  # a second digit is often as right as the first


def test_a_checkpoint_of_ours_still_solves(tmp_path: Path) -> None:
    """It records its prompt format, and that a worked form may have 512 tokens."""
    manifest = convert(SHIPPED, tmp_path / "out", name="ours")
    assert (manifest.name, manifest.solves, manifest.prompt_format) == ("ours", True, "digits")
    assert manifest.limits == Limits(512, 512)


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """Finite weights whose product overflows; nothing is left behind."""
    folder = tmp_path / "mine"
    folder.mkdir()
    flan(folder)
    weights = load_file(folder / "model.safetensors")
    for name, value in weights.items():
        if "wi_" in name:
            weights[name] = torch.full_like(value, 3e38)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConversionError, match="log-probabilities are nan"):
        convert(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_suppressed_tokens_anywhere_are_never_decoded(tmp_path: Path) -> None:
    """A tail is left out of the graph; ids between others are masked in it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    flan(folder)
    path = folder / "generation_config.json"
    identity = Identity("mine", "1", "none", "text", Limits(64, 8), {})
    sources = [[number, number + 1, 1] for number in range(3, 43)]

    def answers() -> set[int]:
        write_bundle(folder, tmp_path / "out", identity, sources, lambda _: "card\n")
        cases = json.loads((tmp_path / "out" / REFERENCE).read_text())
        return {token for case in cases for token in case["tokens"]}

    suppressed = sorted(answers())[::2]
    tail = list(range(3_000, 3_456))
    settings = json.loads(path.read_text()) | {"suppress_tokens": [*suppressed, *tail]}
    path.write_text(json.dumps(settings))
    assert not answers() & {*suppressed, *tail}
    decoder = onnx.load(tmp_path / "out" / "decoder.onnx").graph
    (embeddings,) = (weight for weight in decoder.initializer if weight.name == "shared")
    assert embeddings.dims[0] == 1 + max(set(range(3_000)) - set(suppressed))


def test_widths_that_int8_cannot_have_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    config = T5Config(
        vocab_size=3_456, d_model=30, d_kv=8, d_ff=48, num_layers=1, num_heads=2,
        decoder_start_token_id=0,
    )  # fmt: skip
    write_model(folder, config, tied=True)
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
    with pytest.raises(CheckpointError, match="multiples of four, and d_model is 30: choose fp32"):
        convert(folder, tmp_path / "out", precision="int8")
    assert convert(folder, tmp_path / "out").precision == "fp32"
