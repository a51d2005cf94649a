"""Load the engine of a bundle and warm it up."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from engine.bundle import REFERENCE, read_manifest
from engine.contracts import Prompt
from engine.generate import generate
from engine.kernels import levels
from engine.ort import OrtEngine, OrtModel

_LOG = logging.getLogger(__name__)
_WARM_UP = 8  # prompts: enough for a step of one row and of several


def load_engine(
    folder: Path, *, threads: int, rows: int, provider: str = "auto", kernels: str = "auto"
) -> tuple[OrtEngine, str]:
    """Return an engine and ONNX Runtime's name of its provider. Does not check the files' hashes.

    Raises `BundleError`, `ProviderMissing` or `LevelMissing`, each with one line that says what to
    do.
    """
    model = OrtModel(
        folder, read_manifest(folder), threads=threads, provider=provider, kernels=kernels
    )
    if model.device == "cpu" and not levels():
        _LOG.info("no kernels of our own for this processor or installation: decoding is slower")
    return OrtEngine(model, rows=rows), model.provider


def warm_up(engine: OrtEngine, folder: Path) -> None:
    """Decode some of the bundle's reference prompts: an engine's first calls are slow."""
    pairs = json.loads((folder / REFERENCE).read_text(encoding="utf-8"))
    prompts = [Prompt(tuple(pair["source"])) for pair in pairs[:_WARM_UP]]
    generate(engine, prompts[:1])
    generate(engine, prompts)
