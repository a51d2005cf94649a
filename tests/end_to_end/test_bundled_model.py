"""The bundle that ships."""

from __future__ import annotations

import json

from service.engine.bundle import MANIFEST, REFERENCE, load_manifest
from service.engine.ort import OrtEngine
from service.settings import Settings


def test_this_machine_generates_the_recorded_tokens() -> None:
    """PyTorch's greedy tokens, recorded at export, come out of the engine here."""
    folder = Settings().model
    engine = OrtEngine(folder, load_manifest(folder), threads=2, provider="cpu")
    cases = json.loads((folder / REFERENCE).read_text())
    assert len(cases) == 64
    generated = engine.generate([case["source"] for case in cases]).rows
    assert generated == [case["tokens"] for case in cases]


def test_it_is_small() -> None:
    folder = Settings().model
    manifest = load_manifest(folder)
    assert manifest.architecture.parameters <= 10_000_000
    assert sum(file["bytes"] for file in manifest.files.values()) <= 40_000_000


def test_nothing_lies_in_it_that_its_manifest_does_not_name() -> None:
    folder = Settings().model
    names = {path.name for path in folder.iterdir()}
    assert names == {MANIFEST, *load_manifest(folder).files}
