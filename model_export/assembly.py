"""Put a bundle together: graphs, tokenizer, reference, model card, and last the manifest.

Needs no torch. Nothing here proves that the graphs are right: `bundle` compares them with PyTorch,
and `convert` checks that they answer.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

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
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import Checkpoint, tokenizer_of
from model_export.graphs import write_graphs
from model_export.quantisation import InputRanges

CARD = "README.md"
PRECISIONS = ("fp32", "fp16", "int8")
# Bytes of weights: a graph's file cannot exceed 2 GB, is read whole, and is in memory several times
# while it is written.
MOST_INLINE = 128 * 2**20
_REFERENCES = 64

Card = Callable[[Manifest], str]


@dataclass(frozen=True)
class Identity:
    """The properties of a bundle that its checkpoint does not record."""

    name: str
    version: str
    prompt_format: str
    target_format: str
    limits: Limits
    provenance: Mapping[str, Any]
    precision: str = "fp32"  # one of PRECISIONS
    calibration: tuple[tuple[float, float], ...] = ()


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield a folder to fill, which becomes `out` at the end; after an error nothing changes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield partial
        partial.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_model(
    checkpoint: Checkpoint,
    identity: Identity,
    folder: Path,
    ranges: InputRanges | None = None,
    *,
    most_inline: int = MOST_INLINE,
) -> Manifest:
    """Write the graphs and the tokenizer; return a manifest with which an engine can load them.

    Models of more than `most_inline` bytes keep their weights in files beside their graphs.
    Raises `CheckpointError` for a width that int8's products cannot have.
    """
    if identity.precision == "int8":
        _require_fours(checkpoint)
    external = 4 * checkpoint.weights.parameters > most_inline
    graphs = write_graphs(
        checkpoint,
        ranges,
        half=identity.precision == "fp16",
        external=folder if external else None,
    )
    for graph, name in (
        (graphs.encoder, ENCODER),
        (graphs.decoder, DECODER),
        (choosing.candidates(), CANDIDATES),
        (choosing.draw(), DRAW),
    ):
        onnx.save(graph, folder / name)
        onnx.checker.check_model(folder / name)
    checkpoint.tokenizer.save(str(folder / TOKENIZER))
    return _manifest(checkpoint, identity, folder)


def _require_fours(checkpoint: Checkpoint) -> None:
    """Raise `CheckpointError` unless the inputs of every product are a multiple of four."""
    config = checkpoint.config
    inner = config.num_heads * config.d_kv
    for name, width in (("d_model", config.d_model), ("d_ff", config.d_ff), ("heads", inner)):
        if width % 4:
            raise CheckpointError(
                f"{checkpoint.folder}: products of int8 need widths that are multiples of four, "
                f"and {name} is {width}: choose fp32"
            )


def seal(
    checkpoint: Checkpoint,
    identity: Identity,
    folder: Path,
    cases: Sequence[tuple[Tokens, list[int]]],
    card: Card,
) -> Manifest:
    """Write the reference (`cases` of a source and its answer), the card and the manifest."""
    reference = [{"source": list(source), "tokens": row} for source, row in cases[:_REFERENCES]]
    (folder / REFERENCE).write_text(json.dumps(reference) + "\n", encoding="utf-8")
    text = card(_manifest(checkpoint, identity, folder))
    (folder / CARD).write_text(text, encoding="utf-8")
    manifest = _manifest(checkpoint, identity, folder)
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def describe(
    folder: Path,
    card: Card,
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
    """Return the token ids of questions.

    Raises `equations.errors.EquationError` and `CheckpointError`.
    """
    tokenizer = tokenizer_of(checkpoint)
    encode = FORMATS[prompt_format].encode
    return [tokenizer.encode(encode(question)).ids for question in questions]


def texts_of(texts: Sequence[str], checkpoint: Path) -> list[Tokens]:
    """Return the token ids of plain texts. Raises `CheckpointError`."""
    return [encoding.ids for encoding in tokenizer_of(checkpoint).encode_batch(list(texts))]


def _manifest(checkpoint: Checkpoint, identity: Identity, folder: Path) -> Manifest:
    config, generation = checkpoint.config, checkpoint.generation
    return Manifest(
        format=FORMAT,
        name=identity.name,
        version=identity.version,
        prompt_format=identity.prompt_format,
        target_format=identity.target_format,
        precision=identity.precision,
        architecture=Architecture(
            decoder_layers=config.num_decoder_layers,
            heads=config.num_heads,
            d_kv=config.d_kv,
            parameters=checkpoint.weights.parameters,
            pad_id=generation.pad_id,
            eos_id=generation.eos_id,
            start_id=generation.start_id,
        ),
        limits=identity.limits,
        calibration=identity.calibration,
        provenance=identity.provenance,
        files={path.name: fingerprint(path) for path in sorted(folder.iterdir())},
        decoding=generation.decoding,
    )
