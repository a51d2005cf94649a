"""A bundle carries the settings of its checkpoint's generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.bundle import Limits, Manifest
from engine.contracts import Decoding
from model_export.assembly import Identity, write_model
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import read_checkpoint
from tests.training.flan import characters, write_flan


def manifest(folder: Path, settings: dict[str, Any]) -> Manifest:
    """The manifest of a checkpoint with these settings, as it is read again."""
    checkpoint = write_flan(folder / "checkpoint", characters(), 103)
    path = checkpoint / "generation_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    identity = Identity("a", "1", "none", "text", Limits(64, 8), {})
    (folder / "bundle").mkdir()
    written = write_model(read_checkpoint(checkpoint), identity, folder / "bundle")
    return Manifest.from_json(written.to_json())


def test_settings_of_a_checkpoint_are_its_bundles(tmp_path: Path) -> None:
    """Those of T5's summaries, and lists."""
    summaries = {
        "num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "early_stopping": True,
        "min_length": 30, "bad_words_ids": [[5], [6, 7]], "sequence_bias": [[[9], 1.5]],
    }  # fmt: skip
    found = Decoding(**manifest(tmp_path, summaries).decoding)
    assert found == Decoding(
        num_beams=4,
        length_penalty=2.0,
        no_repeat_ngram_size=3,
        early_stopping=True,
        min_new_tokens=29,
        bad_words=((5,), (6, 7)),
        logit_bias=((9, 1.5),),
    )
    assert hash(found)


def test_without_settings_a_bundle_decodes_greedily(tmp_path: Path) -> None:
    assert Decoding(**manifest(tmp_path, {}).decoding).plain


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"num_beams": 40}, "num_beams is 40; expected 1 to 16"),
        ({"sequence_bias": [[[9, 8], 1.5]]}, "expected biases of one token each"),
    ],
)
def test_settings_that_it_cannot_have_are_refused(
    tmp_path: Path, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        manifest(tmp_path, settings)
