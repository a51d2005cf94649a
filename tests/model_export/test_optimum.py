"""A folder that `optimum-cli export onnx` wrote becomes a bundle: see optimum_fixture.py."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from engine.bundle import REFERENCE, Limits
from model_export.assembly import Identity
from model_export.bundle import write_bundle
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import read_checkpoint
from model_export.convert import convert
from model_export.parity import ParityError

ARCHIVE = Path(__file__).with_name("optimum.tar.xz")
STEPS = 12
IDENTITY = Identity("guest", "1", "none", "text", Limits(64, STEPS), {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "optimum", filter="data")
    return tmp_path / "optimum"


def cases(folder: Path) -> list[dict[str, list[int]]]:
    """Return sources and the tokens that optimum's `ORTModelForSeq2SeqLM` generated for them."""
    recorded: list[dict[str, list[int]]] = json.loads((folder / "answers.json").read_text())
    return recorded


@pytest.mark.parametrize("absent", ["decoder_model_merged.onnx", "decoder_model.onnx"])
def test_a_bundle_gives_optimums_tokens(absent: str, folder: Path, tmp_path: Path) -> None:
    """From the separate decoder and from the merged one; `write_bundle` runs optimum's graphs."""
    (folder / absent).unlink()
    sources = [case["source"] for case in cases(folder)]
    manifest = write_bundle(folder, tmp_path / "out", IDENTITY, sources, lambda _: "card\n")
    # ONNX Runtime's products add up in another order than ours: 1.1e-4 apart.
    assert manifest.provenance["parity"]["logprob_difference"] < 5e-4
    assert json.loads((tmp_path / "out" / REFERENCE).read_text()) == cases(folder)


def test_int8_is_calibrated_on_the_same_weights(folder: Path, tmp_path: Path) -> None:
    identity = Identity("guest", "1", "none", "text", Limits(64, STEPS), {}, "int8")
    sources = [case["source"] for case in cases(folder)]
    card = lambda _: "card\n"  # noqa: E731
    manifest = write_bundle(folder, tmp_path / "out", identity, sources, card, least_equal=0.0)
    # Random weights part at near ties. With ranges a fifth as large, no answer is equal.
    assert manifest.provenance["parity"]["equal"] >= 2


def test_it_converts_without_torch(folder: Path, tmp_path: Path) -> None:
    assert convert(folder, tmp_path / "out").name == "optimum"


def change_weight(folder: Path, change: object) -> None:
    """Let `change` write over the encoder's embeddings."""
    path = folder / "encoder_model.onnx"
    model = onnx.load(path)
    (weight,) = (one for one in model.graph.initializer if one.name == "embed_tokens.weight")
    value = numpy_helper.to_array(weight).copy()
    change(value)  # type: ignore[operator]
    weight.CopyFrom(numpy_helper.from_array(value, weight.name))
    onnx.save(model, path)


def test_faults_are_named(folder: Path) -> None:
    def one_nan(value: np.ndarray) -> None:
        value[3, 2] = np.nan

    change_weight(folder, one_nan)
    with pytest.raises(CheckpointError, match=r"encoder_model\.onnx: .*embed_tokens\.weight has 1"):
        read_checkpoint(folder)
    (folder / "decoder_model.onnx").write_bytes(b"\x08\x07:\xff\xff\xff\x7f")
    with pytest.raises(CheckpointError, match=r"decoder_model\.onnx: truncated or damaged"):
        read_checkpoint(folder)
    (folder / "decoder_model.onnx").unlink()
    (folder / "decoder_model_merged.onnx").unlink()
    with pytest.raises(CheckpointError, match=r"decoder_model\.onnx: missing"):
        read_checkpoint(folder)


def test_a_misread_weight_would_be_noticed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference runs optimum's graphs, not the weights that were read from them."""
    read = read_checkpoint(folder)

    class Misread(type(read.weights)):  # type: ignore[misc]
        def __getitem__(self, name: str) -> np.ndarray:
            value: np.ndarray = super().__getitem__(name)
            return value * 1.5 if name.endswith("0.SelfAttention.o.weight") else value

    read.weights.__class__ = Misread
    monkeypatch.setattr("model_export.bundle.read_checkpoint", lambda _: read)
    sources = [case["source"] for case in cases(folder)]
    with pytest.raises(ParityError, match="texts differ"):
        write_bundle(folder, tmp_path / "out", IDENTITY, sources, lambda _: "card\n")
