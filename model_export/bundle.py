"""Put a bundle together: graphs, tokenizer, reference, model card, and last of all the manifest.

Nothing replaces an older bundle before the service's own engine has generated, from the new graphs,
the tokens that PyTorch generates.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from tokenizers import Tokenizer
from transformers import T5ForConditionalGeneration

from equations.parser import parse
from equations.prompt import PROMPT_FORMATS
from model_export.graphs import write_graphs
from model_export.parity import engine_tokens, torch_tokens
from service.contracts import Tokens
from service.engine.bundle import (
    DECODER,
    ENCODER,
    FORMAT,
    MANIFEST,
    REFERENCE,
    TOKENIZER,
    Architecture,
    Limits,
    Manifest,
    fingerprint,
)

CARD = "README.md"
_REFERENCES = 64


class ParityError(ValueError):
    """The bundle would not say what PyTorch says."""


@dataclass(frozen=True)
class Identity:
    """What a checkpoint cannot say of itself."""

    name: str
    version: str
    prompt_format: str
    target_format: str
    limits: Limits
    provenance: Mapping[str, Any]
    calibration: tuple[tuple[float, float], ...] = ()


def write_bundle(
    checkpoint: Path,
    out: Path,
    identity: Identity,
    questions: Sequence[str],
    card: Callable[[Manifest], str],
) -> Manifest:
    """Export the plain checkpoint as the bundle `out`, replacing what was there.

    `questions` are generated on both sides and compared; `card` writes the model card. Raises
    `graphs.UnsupportedCheckpoint`, `ParityError`, `equations.errors.EquationError`.
    """
    model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    model.generation_config.max_new_tokens = identity.limits.max_new_tokens
    sources = _sources(questions, identity.prompt_format, checkpoint / TOKENIZER)
    expected = torch_tokens(model, sources)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _write_files(model, checkpoint, partial, sources, expected)
        draft = _manifest(model, identity, partial)
        _require_parity(partial, draft, sources, expected)
        (partial / CARD).write_text(card(draft), encoding="utf-8")
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


def _sources(questions: Sequence[str], prompt_format: str, tokenizer_file: Path) -> list[Tokens]:
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    prompt = PROMPT_FORMATS[prompt_format]
    return [tokenizer.encode(prompt(parse(q).with_integers())).ids for q in questions]


def _write_files(
    model: T5ForConditionalGeneration,
    checkpoint: Path,
    folder: Path,
    sources: list[Tokens],
    expected: list[list[int]],
) -> None:
    graphs = write_graphs(model)
    onnx.save(graphs.encoder, folder / ENCODER)
    onnx.save(graphs.decoder, folder / DECODER)
    shutil.copyfile(checkpoint / TOKENIZER, folder / TOKENIZER)
    cases = [
        {"source": list(source), "tokens": tokens}
        for source, tokens in zip(sources[:_REFERENCES], expected, strict=False)
    ]
    (folder / REFERENCE).write_text(json.dumps(cases) + "\n", encoding="utf-8")


def _require_parity(
    folder: Path, manifest: Manifest, sources: list[Tokens], expected: list[list[int]]
) -> None:
    found = engine_tokens(folder, manifest, sources)
    different = [i for i in range(len(sources)) if found[i] != expected[i]]
    if different:
        first = different[0]
        raise ParityError(
            f"{len(different)} of {len(sources)} questions differ from PyTorch; "
            f"the first is number {first}: {found[first]}, expected {expected[first]}"
        )


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
        calibration=identity.calibration,
        provenance=identity.provenance,
        files={path.name: fingerprint(path) for path in sorted(folder.iterdir())},
    )
