"""Generate greedy tokens with PyTorch's `generate` and with our engine, and compare them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from tqdm import tqdm
from transformers import T5ForConditionalGeneration

from engine.bundle import Manifest
from engine.contracts import Hypothesis, Prompt, Tokens
from engine.cpu import available_cpus
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.greedy import greedy

_BATCH = 64
_NEAR_TIE = 1e-3  # engines in fp32 differ by about 1e-5


def engine_tokens(bundle: Path, manifest: Manifest, sources: Sequence[Tokens]) -> list[list[int]]:
    """Return the engine's answers to `sources` (token ids, end token included)."""
    return [hypothesis.tokens for hypothesis in _hypotheses(bundle, manifest, sources)]


def compare(
    checkpoint: Path, bundle: Path, manifest: Manifest, sources: Sequence[Tokens]
) -> dict[str, int]:
    """Count the answers to `sources` that equal PyTorch's token by token, and those that do not.

    `near_ties` diverge where the engine's two likeliest tokens are nearly equal, so that rounding
    decides; `different` are all others that diverge.
    """
    model = T5ForConditionalGeneration.from_pretrained(checkpoint).eval()
    model.generation_config.max_new_tokens = manifest.limits.max_new_tokens
    found = _hypotheses(bundle, manifest, sources)
    expected = torch_tokens(model, sources)
    parted = [(a, b) for a, b in zip(found, expected, strict=True) if a.tokens != b]
    near = sum(_lead_where_parted(a, b) < _NEAR_TIE for a, b in parted)
    return {
        "questions": len(sources),
        "equal": len(sources) - len(parted),
        "near_ties": near,
        "different": len(parted) - near,
    }


def _lead_where_parted(found: Hypothesis, expected: list[int]) -> float:
    """Return the engine's margin, in natural log-probability, at the first token that differs."""
    pairs = zip_longest(found.tokens, expected)
    place = next(i for i, (ours, theirs) in enumerate(pairs) if ours != theirs)
    return found.logprobs[place] - found.runner_up_logprobs[place]


def _hypotheses(bundle: Path, manifest: Manifest, sources: Sequence[Tokens]) -> list[Hypothesis]:
    """Decode with rows that join while others are active, as in the service."""
    model = OrtModel(bundle, manifest, threads=available_cpus(), provider="cpu")
    with tqdm(total=len(sources), desc="engine", unit="row") as bar:
        prompts = [Prompt(tuple(source)) for source in sources]
        answers = generate(OrtEngine(model, rows=_BATCH), prompts, bar.update)
        return [answer.best for answer in answers]


def torch_tokens(model: T5ForConditionalGeneration, sources: Sequence[Tokens]) -> list[list[int]]:
    """Return PyTorch's answers to `sources`, without padding and end tokens."""
    rows: list[list[int]] = []
    with tqdm(total=len(sources), desc="PyTorch", unit="row") as bar:
        for start in range(0, len(sources), _BATCH):
            rows += greedy(model, sources[start : start + _BATCH])
            bar.update(len(rows) - bar.n)
    return rows
