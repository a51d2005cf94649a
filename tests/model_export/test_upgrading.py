"""A bundle that the release of format 4 wrote is read, and rewritten in the newest format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.bundle import FORMAT, REFERENCE, BundleError, load_manifest
from engine.contracts import Decoding, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.upgrading import UpgradeError, upgrade

OLD = Path(__file__).parent / "bundles"
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])


def engine(folder: Path) -> OrtEngine:
    model = OrtModel(folder, load_manifest(folder), threads=1, provider="cpu")
    return OrtEngine(model, rows=8)


def sources(folder: Path) -> list[tuple[int, ...]]:
    cases = json.loads((folder / REFERENCE).read_text())
    return [tuple(case["source"]) for case in cases]


@pytest.fixture
def old(precision: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD / f"format-4-{precision}", tmp_path / "model"))


@PRECISIONS
def test_the_format_before_is_read(old: Path) -> None:
    manifest = load_manifest(old)
    assert (manifest.format, manifest.has_settings) == (4, False)
    cases = json.loads((old / REFERENCE).read_text())
    answers = generate(engine(old), [Prompt(tuple(case["source"])) for case in cases])
    if manifest.precision == "fp32":  # int8 rounds by the processor's level
        assert [list(answer.best.tokens) for answer in answers] == [c["tokens"] for c in cases]


@PRECISIONS
def test_an_upgraded_bundle_answers_as_before_and_can_do_more(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert upgrade(old, new).format == 4
    assert load_manifest(old).format == 4  # for releases that read no other
    manifest = load_manifest(new)
    assert (manifest.format, manifest.has_settings) == (FORMAT, True)
    greedy = [Prompt(source) for source in sources(old)]
    assert [answer.best.tokens for answer in generate(engine(new), greedy)] == [
        answer.best.tokens for answer in generate(engine(old), greedy)
    ]
    beams = Prompt(sources(old)[0], decoding=Decoding(num_beams=3, num_return_sequences=3))
    (answer,) = generate(engine(new), [beams])
    scores = [hypothesis.score for hypothesis in answer.hypotheses]
    assert len(scores) == 3
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
    answers = iter(([[1]], [[2]]))
    monkeypatch.setattr("model_export.upgrading._answers", lambda *_: next(answers))
    with pytest.raises(UpgradeError, match="gives other answers"):
        upgrade(old, old)
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert [path.name for path in old.parent.iterdir()] == ["model"]
