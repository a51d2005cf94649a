"""Put a bundle together: graphs, tokenizer, model card, and last of all the manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from transformers import T5ForConditionalGeneration

from model_export.graphs import write_graphs
from service.engine.bundle import (
    DECODER,
    ENCODER,
    FORMAT,
    MANIFEST,
    TOKENIZER,
    Architecture,
    Limits,
    Manifest,
    fingerprint,
)

CARD = "README.md"


@dataclass(frozen=True)
class Identity:
    """What a checkpoint cannot say of itself."""

    name: str
    version: str
    prompt_format: str
    target_format: str
    limits: Limits
    provenance: Mapping[str, Any]


def write_bundle(checkpoint: Path, out: Path, identity: Identity, card: str) -> Manifest:
    """Export the plain checkpoint as the bundle `out`, replacing what was there.

    Everything is written beside `out` first: a failed export leaves the old bundle whole. Raises
    `graphs.UnsupportedCheckpoint`.
    """
    model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    graphs = write_graphs(model)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        onnx.save(graphs.encoder, partial / ENCODER)
        onnx.save(graphs.decoder, partial / DECODER)
        shutil.copyfile(checkpoint / TOKENIZER, partial / TOKENIZER)
        (partial / CARD).write_text(card, encoding="utf-8")
        manifest = _manifest(model, identity, partial)
        (partial / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        partial.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return manifest


def _manifest(model: T5ForConditionalGeneration, identity: Identity, folder: Path) -> Manifest:
    config = model.config
    return Manifest(
        format=FORMAT,
        name=identity.name,
        version=identity.version,
        prompt_format=identity.prompt_format,
        target_format=identity.target_format,
        precision="fp32",
        architecture=Architecture(
            decoder_layers=config.num_decoder_layers,
            heads=config.num_heads,
            d_kv=config.d_kv,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            pad_id=config.pad_token_id,
            eos_id=config.eos_token_id,
            start_id=config.decoder_start_token_id,
        ),
        limits=identity.limits,
        provenance=identity.provenance,
        files={path.name: fingerprint(path) for path in sorted(folder.iterdir())},
    )
