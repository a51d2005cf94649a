"""Bundles that earlier formats' code wrote are read, and rewritten in the newest format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from engine.bundle import DECODER, FORMAT, REFERENCE, BundleError, load_manifest
from engine.contracts import Decoding, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.upgrading import UpgradeError, upgrade

OLD = Path(__file__).parent / "bundles"
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])
OF_FORMAT_5 = pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
BEAMS = Decoding(num_beams=3, num_return_sequences=3)
DRAWN = Decoding(do_sample=True, seed=3, num_return_sequences=3)


def engine(folder: Path, kernels: str = "auto") -> OrtEngine:
    model = OrtModel(folder, load_manifest(folder), threads=1, provider="cpu", kernels=kernels)
    return OrtEngine(model, rows=8)


def sources(folder: Path) -> list[tuple[int, ...]]:
    cases = json.loads((folder / REFERENCE).read_text())
    return [tuple(case["source"]) for case in cases]


def answers(folder: Path, *decodings: Decoding, kernels: str = "auto") -> list[list[list[int]]]:
    """Return the answers to the reference questions, with each of the settings."""
    prompts = [
        Prompt(source, decoding=decoding) for source in sources(folder) for decoding in decodings
    ]
    found = generate(engine(folder, kernels), prompts)
    return [[list(one.tokens) for one in answer.hypotheses] for answer in found]


@pytest.fixture
def old_5(precision: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / f"format-5-{precision}", tmp_path / "model"))


@OF_FORMAT_5
def test_format_5_is_read_with_all_of_its_settings(old_5: Path) -> None:
    manifest = load_manifest(old_5)
    assert (manifest.format, manifest.has_settings) == (5, True)
    if manifest.precision == "fp32":  # others round by the processor's level
        cases = json.loads((old_5 / REFERENCE).read_text())
        assert answers(old_5, Decoding()) == [[case["tokens"]] for case in cases]
    assert all(len(answer) == 3 for answer in answers(old_5, BEAMS, DRAWN))


@OF_FORMAT_5
def test_rows_of_an_upgraded_bundle_read_one_copy_and_answer_as_before(
    old_5: Path, tmp_path: Path, precision: str
) -> None:
    new = tmp_path / "new"
    assert upgrade(old_5, new).format == 5
    assert load_manifest(new).format == FORMAT
    inputs = {value.name for value in onnx.load(new / DECODER).graph.input}
    assert ("sources" in inputs) == (precision != "fp16")
    settings = Decoding(), BEAMS, DRAWN
    for kernels in ("auto", "none"):
        before = answers(old_5, *settings, kernels=kernels)
        assert answers(new, *settings, kernels=kernels) == before


@pytest.fixture
def old(precision: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / f"format-4-{precision}", tmp_path / "model"))


@PRECISIONS
def test_format_4_is_read(old: Path) -> None:
    manifest = load_manifest(old)
    assert (manifest.format, manifest.has_settings) == (4, False)
    found = answers(old, Decoding())
    if manifest.precision == "fp32":  # int8 rounds by the processor's level
        cases = json.loads((old / REFERENCE).read_text())
        assert found == [[case["tokens"]] for case in cases]


@PRECISIONS
def test_a_prompt_that_format_4_cannot_decode_takes_no_rows(old: Path) -> None:
    refusing = engine(old)
    with pytest.raises(ValueError, match="this bundle decodes greedily only"):
        refusing.join({"beams": Prompt(sources(old)[0], decoding=BEAMS)})
    assert refusing.active == 0


@PRECISIONS
def test_an_upgraded_bundle_answers_as_before_and_can_do_more(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert upgrade(old, new).format == 4
    assert load_manifest(old).format == 4  # for releases that read no other
    manifest = load_manifest(new)
    assert (manifest.format, manifest.has_settings) == (FORMAT, True)
    assert answers(new, Decoding()) == answers(old, Decoding())
    (answer,) = generate(engine(new), [Prompt(sources(old)[0], decoding=BEAMS)])
    scores = [one.score for one in answer.hypotheses if one.score is not None]
    assert len(scores) == len(answer.hypotheses) == 3
    assert scores == sorted(scores, reverse=True)


@PRECISIONS
def test_a_bundle_is_upgraded_in_place_and_only_once(old: Path) -> None:
    assert upgrade(old, old).format == 4
    written = {path.name: path.read_bytes() for path in old.iterdir()}
    assert upgrade(old, old).format == FORMAT
    assert {path.name: path.read_bytes() for path in old.iterdir()} == written


@pytest.mark.parametrize("precision", ["fp32"])
def test_what_cannot_be_upgraded_stays_as_it_is(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    (old / "encoder.onnx").write_bytes(b"none")
    with pytest.raises(BundleError, match=r"encoder\.onnx: 4 bytes"):
        upgrade(old, old)
    (old / "encoder.onnx").write_bytes(before["encoder.onnx"])
    different = iter(([[1]], [[2]]))
    monkeypatch.setattr("model_export.upgrading._answers", lambda *_: next(different))
    with pytest.raises(UpgradeError, match="gives other answers"):
        upgrade(old, old)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert [path.name for path in old.parent.iterdir()] == ["model"]
