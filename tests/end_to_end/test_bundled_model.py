"""The bundle that ships."""

from __future__ import annotations

import json

from engine.bundle import MANIFEST, REFERENCE, load_manifest
from engine.contracts import Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.checkpoint.reading import read_checkpoint
from model_export.reference import Reference
from service.settings import Settings
from training.data import Problem
from training.served import Bundle


def test_this_machine_generates_the_recorded_tokens() -> None:
    """The tokens recorded at export come out of the engine here."""
    folder = Settings().model
    model = OrtModel(folder, load_manifest(folder), threads=2, provider="cpu")
    cases = json.loads((folder / REFERENCE).read_text())
    assert len(cases) == 64
    prompts = [Prompt(tuple(case["source"])) for case in cases]
    generated = generate(OrtEngine(model, rows=16), prompts)
    assert [answer.best.tokens for answer in generated] == [case["tokens"] for case in cases]


def test_it_is_small() -> None:
    folder = Settings().model
    manifest = load_manifest(folder)
    assert manifest.architecture.parameters <= 10_000_000
    assert sum(file["bytes"] for file in manifest.files.values()) <= 40_000_000


def test_nothing_lies_in_it_that_its_manifest_does_not_name() -> None:
    folder = Settings().model
    names = {path.name for path in folder.iterdir()}
    assert names == {MANIFEST, *load_manifest(folder).files}


def test_the_checkpoint_beside_it_is_what_it_was_made_from() -> None:
    """PyTorch in fp32 writes nearly always what the bundle wrote in int8 at export."""
    bundle = Settings().model
    checkpoint = bundle.with_name(f"{bundle.name}-checkpoint")
    cases = json.loads((bundle / REFERENCE).read_text())
    reference = Reference(read_checkpoint(checkpoint))
    answers = reference.answers([case["source"] for case in cases])
    same = sum(a.tokens == case["tokens"] for a, case in zip(answers, cases, strict=True))
    assert same >= 0.9 * len(cases)


def test_it_is_scored_on_systems_as_it_serves_them() -> None:
    problems = [
        Problem("Suppose 3*b - 5 = 10. Solve b*x = 15 for x.", "3"),
        Problem("Solve x + y = 5, x - y = 2 for y.", "3/2"),
        Problem("Solve 3*x = 12 for x.", "4"),
        Problem("Solve 1234567890123*x = 1, x + y = 1 for x.", "1/1234567890123"),
    ]
    made = Bundle(Settings().model).predict(problems)
    assert [prediction.exact for prediction in made] == [True, True, True, False]
    assert [prediction.confidence is None for prediction in made] == [False, False, False, True]
    # Confidences are fitted on single texts, whose score they are read off.
    assert [prediction.score is None for prediction in made] == [True, True, False, True]
    assert [prediction.text.count(" ; ") for prediction in made] == [1, 0, 0, 0]
