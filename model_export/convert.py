"""Convert a checkpoint to a bundle without torch, for machines that only serve.

There is no PyTorch to compare with: the checkpoint is checked as always, and the engine must answer
some texts with finite numbers. `python -m model_export export` is the way that proves a bundle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from engine.bundle import NO_PROMPT, Limits, Manifest
from engine.contracts import Decoding, Hypothesis, Prompt
from engine.cpu import available_cpus
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from equations.formats import CONFIG_KEY, FORMATS
from model_export.assembly import Identity, replacing, seal, write_model
from model_export.card import write_card
from model_export.checkpoint.errors import CheckpointError, ConversionError
from model_export.checkpoint.reading import Checkpoint, read_checkpoint
from model_export.quantisation import BY_ROW

LIMITS = Limits(max_source_tokens=512, max_new_tokens=256)
_TEXTS = (
    "translate English to German: The house is wonderful.",
    "summarize: The river rose by two metres overnight, and the town closed its lower bridge.",
    "Solve 24 = 1601*c - 1605*c for c.",
    "def add(a, b):\n    return a + b",
    "Wie spät ist es?",
    "x",
)
_ROWS = 8


def convert(
    source: Path,
    out: Path,
    *,
    precision: str = "fp32",
    name: str | None = None,
    version: str = "1.0.0",
    limits: Limits | None = None,
) -> Manifest:
    """Write the checkpoint in the folder `source` as the bundle `out`, replacing an older one.

    In int8, one of `precision`'s three, products round each row by its own largest input, which
    needs no calibration. `name` is that of the folder if not given. `limits` are `LIMITS` if not
    given, or more where the checkpoint writes worked forms and says that they may be longer.

    Raises `CheckpointError`, and `ConversionError` if the engine's answers are not finite.
    """
    checkpoint = read_checkpoint(source)
    prompt_format = _prompt_format(checkpoint)
    identity = Identity(
        name=name or source.resolve().name,
        version=version,
        prompt_format=prompt_format,
        target_format="text" if prompt_format == NO_PROMPT else FORMATS[prompt_format].target,
        limits=limits or _limits(checkpoint, prompt_format),
        precision=precision,
        provenance={"training": None, "parity": None},
    )
    with replacing(out) as folder:
        with tqdm(total=len(checkpoint.weights), desc=f"converting {identity.name}",
                  unit="tensor", disable=None) as bar:  # fmt: skip
            watched = replace(checkpoint, weights=checkpoint.weights.watched(bar.update))
            ranges = BY_ROW if precision == "int8" else None
            manifest = write_model(watched, identity, folder, ranges)
        sources = [checkpoint.tokenizer.encode(text).ids for text in _TEXTS]
        answers = _answers(folder, manifest, sources)
        cases = [(ids, answer.tokens) for ids, answer in zip(sources, answers, strict=True)]
        return seal(checkpoint, identity, folder, cases, write_card)


def _prompt_format(checkpoint: Checkpoint) -> str:
    """Return the prompt format that a checkpoint of ours records, else that of any other task."""
    recorded = checkpoint.raw.get(CONFIG_KEY, NO_PROMPT)
    if recorded != NO_PROMPT and recorded not in FORMATS:
        raise CheckpointError(
            f"{checkpoint.folder}: {CONFIG_KEY} {recorded!r:.40} in config.json; expected one of "
            f"{', '.join(FORMATS)}"
        )
    return str(recorded)


def _limits(checkpoint: Checkpoint, prompt_format: str) -> Limits:
    """Return limits that cut no worked form short."""
    longest = checkpoint.generation.max_new_tokens
    if longest is None or prompt_format == NO_PROMPT or not FORMATS[prompt_format].writes_work:
        return LIMITS
    return replace(LIMITS, max_new_tokens=max(LIMITS.max_new_tokens, longest))


def _answers(
    folder: Path, manifest: Manifest, sources: Sequence[Sequence[int]]
) -> list[Hypothesis]:
    """Return the engine's answers to `sources`. Raises `ConversionError`."""
    model = OrtModel(folder, manifest, threads=available_cpus(), provider="cpu")
    prompts = [Prompt(tuple(source), decoding=Decoding(max_new_tokens=16)) for source in sources]
    answers = [answer.best for answer in generate(OrtEngine(model, rows=_ROWS), prompts)]
    if any(math.isnan(value) for answer in answers for value in answer.logprobs):
        raise ConversionError(
            f"{manifest.name}: log-probabilities are nan in {manifest.precision}; the weights "
            "overflow: convert to fp32"
        )
    return answers
