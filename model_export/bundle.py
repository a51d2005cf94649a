"""Write a bundle: graphs, tokenizer, reference, model card, and last the manifest.

An older bundle is replaced only after the engine has generated PyTorch's tokens from the new
graphs: all of them in fp32, most in fp16 and int8.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import torch
from tokenizers import Tokenizer
from transformers import T5ForConditionalGeneration

from engine.bundle import (
    CANDIDATES,
    DECODER,
    DRAW,
    ENCODER,
    FORMAT,
    MANIFEST,
    REFERENCE,
    TOKENIZER,
    Architecture,
    Limits,
    Manifest,
    fingerprint,
    load_manifest,
)
from engine.contracts import Tokens
from equations.formats import FORMATS
from model_export import choosing
from model_export.graphs import write_graphs
from model_export.parity import engine_tokens, torch_tokens
from model_export.quantisation import input_ranges

CARD = "README.md"
_REFERENCES = 64
# The least share of answers equal to PyTorch's. Where two tokens are both right, int8 sometimes
# takes the other one; the evaluation measures what that costs in accuracy.
_LEAST_EQUAL = {"fp32": 1.0, "fp16": 0.95, "int8": 0.75}
MOST_INLINE = 250_000_000  # parameters: a graph's file cannot exceed 2 GB, and is read whole
_CALIBRATION_PROMPTS = 256


class ParityError(ValueError):
    """Too few of the bundle's answers equal PyTorch's."""


@dataclass(frozen=True)
class Identity:
    """The properties of a bundle that its checkpoint does not record."""

    name: str
    version: str
    prompt_format: str
    target_format: str
    limits: Limits
    provenance: Mapping[str, Any]
    precision: str = "fp32"  # or a further key of _LEAST_EQUAL
    calibration: tuple[tuple[float, float], ...] = ()


def write_bundle(
    checkpoint: Path,
    out: Path,
    identity: Identity,
    sources: Sequence[Tokens],
    card: Callable[[Manifest], str],
    *,
    least_equal: float | None = None,
    most_inline: int = MOST_INLINE,
) -> Manifest:
    """Export the plain checkpoint as the bundle `out`, replacing an older one.

    PyTorch and the engine both answer `sources` (token ids, end token included). The share of equal
    answers must be at least `least_equal`; its default depends on the precision. `card` writes the
    model card. Models of over `most_inline` parameters keep their weights in files beside their
    graphs.

    Raises `graphs.UnsupportedCheckpoint` and `ParityError`.
    """
    model = T5ForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    model.generation_config.max_new_tokens = identity.limits.max_new_tokens
    expected = torch_tokens(model, sources)
    shape = _architecture(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        external = partial if shape.parameters > most_inline else None
        _write_graphs(model, identity.precision, sources, partial, external)
        del model  # or a large model would be in memory twice
        shutil.copyfile(checkpoint / TOKENIZER, partial / TOKENIZER)
        found = engine_tokens(partial, _manifest(shape, identity, partial), sources)
        share = _LEAST_EQUAL[identity.precision] if least_equal is None else least_equal
        equal = _require_parity(share, found, expected)
        _write_reference(partial, sources, found)
        parity = {"questions": len(sources), "equal": equal}
        identity = replace(identity, provenance={**identity.provenance, "parity": parity})
        (partial / CARD).write_text(card(_manifest(shape, identity, partial)), encoding="utf-8")
        manifest = _manifest(shape, identity, partial)
        (partial / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        partial.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def describe(
    folder: Path,
    card: Callable[[Manifest], str],
    *,
    evaluation: Mapping[str, Any] | None = None,
    calibration: tuple[tuple[float, float], ...] | None = None,
) -> Manifest:
    """Add figures to a bundle's manifest and model card; arguments that are None change nothing.

    Raises `engine.bundle.BundleError`.
    """
    manifest = load_manifest(folder)
    if evaluation is not None:
        provenance = {**manifest.provenance, "evaluation": evaluation}
        manifest = replace(manifest, provenance=provenance)
    if calibration is not None:
        manifest = replace(manifest, calibration=calibration)
    (folder / CARD).write_text(card(manifest), encoding="utf-8")
    manifest = replace(manifest, files={**manifest.files, CARD: fingerprint(folder / CARD)})
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def sources_of(questions: Sequence[str], prompt_format: str, checkpoint: Path) -> list[Tokens]:
    """Return the token ids of questions. Raises `equations.errors.EquationError`."""
    tokenizer_file = checkpoint / TOKENIZER
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    encode = FORMATS[prompt_format].encode
    return [tokenizer.encode(encode(question)).ids for question in questions]


def texts_of(texts: Sequence[str], checkpoint: Path) -> list[Tokens]:
    """Return the token ids of plain texts."""
    tokenizer = Tokenizer.from_file(str(checkpoint / TOKENIZER))
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _write_graphs(
    model: T5ForConditionalGeneration,
    precision: str,
    sources: Sequence[Tokens],
    folder: Path,
    external: Path | None,
) -> None:
    ranges = None
    if precision == "int8":
        ranges = input_ranges(model, sources[:_CALIBRATION_PROMPTS])
    graphs = write_graphs(model, ranges, half=precision == "fp16", external=external)
    for graph, name in (
        (graphs.encoder, ENCODER),
        (graphs.decoder, DECODER),
        (choosing.candidates(), CANDIDATES),
        (choosing.draw(), DRAW),
    ):
        onnx.save(graph, folder / name)
        onnx.checker.check_model(folder / name)


def _write_reference(folder: Path, sources: Sequence[Tokens], tokens: list[list[int]]) -> None:
    cases = [
        {"source": list(source), "tokens": row}
        for source, row in zip(sources[:_REFERENCES], tokens, strict=False)
    ]
    (folder / REFERENCE).write_text(json.dumps(cases) + "\n", encoding="utf-8")


def _require_parity(least_equal: float, found: list[list[int]], expected: list[list[int]]) -> int:
    """Return the number of answers equal to PyTorch's. Raises `ParityError` if too few are."""
    different = [i for i in range(len(expected)) if found[i] != expected[i]]
    if len(different) > (1 - least_equal) * len(expected):
        first = different[0]
        raise ParityError(
            f"{len(different)} of {len(expected)} questions differ from PyTorch; "
            f"the first is number {first}: {found[first]}, expected {expected[first]}"
        )
    return len(expected) - len(different)


def _architecture(model: T5ForConditionalGeneration) -> Architecture:
    config = model.config
    return Architecture(
        decoder_layers=config.num_decoder_layers,
        heads=config.num_heads,
        d_kv=config.d_kv,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        pad_id=config.pad_token_id,
        eos_id=config.eos_token_id,
        start_id=config.decoder_start_token_id,
    )


def _manifest(shape: Architecture, identity: Identity, folder: Path) -> Manifest:
    return Manifest(
        format=FORMAT,
        name=identity.name,
        version=identity.version,
        prompt_format=identity.prompt_format,
        target_format=identity.target_format,
        precision=identity.precision,
        architecture=shape,
        limits=identity.limits,
        calibration=identity.calibration,
        provenance=identity.provenance,
        files={path.name: fingerprint(path) for path in sorted(folder.iterdir())},
    )
