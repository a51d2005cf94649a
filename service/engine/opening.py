"""From a bundle's folder to an engine that is warm."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from service.contracts import Prompt
from service.engine.bundle import REFERENCE, read_manifest
from service.engine.generate import generate
from service.engine.kernels import NONE, level
from service.engine.ort import OrtEngine, OrtModel

_LOG = logging.getLogger(__name__)
_WARM_UP = 8  # answers: enough to have run alone and in company


def open_engine(
    folder: Path, *, threads: int, rows: int, provider: str = "auto", kernels: str = "auto"
) -> tuple[OrtEngine, str]:
    """An engine and ONNX Runtime's name of its provider; the files are taken as checked.

    Raises `BundleError`, `ProviderMissing` or `LevelMissing`, each with one line that says what to
    do.
    """
    model = OrtModel(
        folder, read_manifest(folder), threads=threads, provider=provider, kernels=kernels
    )
    if model.device == "cpu" and level(kernels) == NONE:
        _LOG.info("no kernels of our own for this processor or installation: decoding is slower")
    return OrtEngine(model, rows=rows), model.provider


def warm_up(engine: OrtEngine, folder: Path) -> None:
    """Answer some of the bundle's own questions: the first calls are the slow ones."""
    pairs = json.loads((folder / REFERENCE).read_text(encoding="utf-8"))
    prompts = [Prompt(tuple(pair["source"])) for pair in pairs[:_WARM_UP]]
    generate(engine, prompts[:1])
    generate(engine, prompts)
