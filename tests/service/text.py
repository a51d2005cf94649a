"""A service that writes text: T5's tokenizer, and an engine that echoes with every setting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.bundle import NO_PROMPT, Limits, Manifest, load_manifest
from engine.tokens import TextCodec
from tests.fakes import WritingEngine
from tests.service.app import Scenario, serve

TOKENIZER = Path(__file__).parents[1] / "t5_tokenizer.json"
CODEC = TextCodec(TOKENIZER)
TEXT = "The house is small."
NAME = "writer"
LIMITS = Limits(max_source_tokens=24, max_new_tokens=20)


def manifest_of(bundle: Path, **fields: Any) -> Manifest:
    """Return the manifest of a bundle for text, with all settings."""
    usual = {
        "name": NAME, "format": 5, "prompt_format": NO_PROMPT, "target_format": "text",
        "limits": LIMITS,
    }  # fmt: skip
    return replace(load_manifest(bundle), **{**usual, **fields})


def parts(bundle: Path, engine: WritingEngine | None = None, **fields: Any) -> dict[str, Any]:
    """Return the arguments of `application` for a bundle with these `fields` of its manifest."""
    return {
        "engine": engine or WritingEngine(CODEC),
        "tokenizer": TOKENIZER,
        "manifest": manifest_of(bundle, **fields),
    }


def serve_text(
    bundle: Path,
    scenario: Scenario,
    engine: WritingEngine | None = None,
    *,
    knobs: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """Run `scenario` against the service; `fields` are of its manifest."""
    serve(bundle, scenario, **parts(bundle, engine, **fields), **(knobs or {}))
