"""Write a bundle that is proved against PyTorch.

An older bundle is replaced only after the engine has generated PyTorch's tokens from the new
graphs, about as likely: all of them in fp32, most in fp16 and int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.bundle import Manifest
from engine.contracts import Hypothesis, Tokens
from model_export.assembly import MOST_INLINE, Card, Identity, replacing, seal, write_model
from model_export.calibration import input_ranges
from model_export.checkpoint.reading import Checkpoint, read_checkpoint
from model_export.graph_reference import GraphReference
from model_export.parity import Comparison, ParityError, compare, engine_answers
from model_export.quantisation import InputRanges
from model_export.reference import Answer, Reference

# The least share of answers equal to PyTorch's. Where two tokens are both right, int8 sometimes
# takes the other one; the evaluation measures what that costs in accuracy.
_LEAST_EQUAL = {"fp32": 1.0, "fp16": 0.95, "int8": 0.75}
# The largest difference from PyTorch in the natural log-probability of one token. fp16 and int8 are
# unbounded, because rounding may move a few of them far.
_MOST_DIFFERENCE = {"fp32": 1e-2}
_CALIBRATION_PROMPTS = 256


def write_bundle(
    checkpoint: Path,
    out: Path,
    identity: Identity,
    sources: Sequence[Tokens],
    card: Card,
    *,
    least_equal: float | None = None,
    most_inline: int = MOST_INLINE,
) -> Manifest:
    """Export the checkpoint in a folder as the bundle `out`, replacing an older one.

    PyTorch and the engine both answer `sources` (token ids, end token included). The share of equal
    answers must be at least `least_equal`; its default depends on the precision, and 0 requires
    nothing. `card` writes the model card. `most_inline`: see `assembly.write_model`.

    Raises `CheckpointError` and `ParityError`.
    """
    read = read_checkpoint(checkpoint)
    expected, ranges = _asked(read, identity, sources)
    with replacing(out) as folder:
        manifest = write_model(read, identity, folder, ranges, most_inline=most_inline)
        found = engine_answers(folder, manifest, sources)
        share = _LEAST_EQUAL[identity.precision] if least_equal is None else least_equal
        comparison = _require_parity(share, identity.precision, found, expected)
        parity = {
            "questions": comparison.questions,
            "equal": comparison.equal,
            "logprob_difference": comparison.logprob_difference,
        }
        proved = replace(identity, provenance={**identity.provenance, "parity": parity})
        answers = [answer.tokens for answer in found]
        return seal(read, proved, folder, list(zip(sources, answers, strict=True)), card)


def _asked(
    checkpoint: Checkpoint, identity: Identity, sources: Sequence[Tokens]
) -> tuple[list[Answer], InputRanges | None]:
    """Return the answers to compare with and int8's input ranges; no model stays in memory."""
    limit, ranges = identity.limits.max_new_tokens, None
    if identity.precision == "int8":
        ranges = input_ranges(Reference(checkpoint), sources[:_CALIBRATION_PROMPTS], limit)
    reference = GraphReference(checkpoint) if checkpoint.from_graphs else Reference(checkpoint)
    return reference.answers(sources, limit), ranges


def _require_parity(
    least_equal: float,
    precision: str,
    found: Sequence[Hypothesis],
    expected: Sequence[Answer],
) -> Comparison:
    """Return the comparison of all answers. Raises `ParityError` if they are too different."""
    comparison = compare(found, expected)
    pairs = enumerate(zip(found, expected, strict=True))
    different = [number for number, (a, b) in pairs if a.tokens != b.tokens]
    if len(different) > (1 - least_equal) * len(expected):
        first = different[0]
        raise ParityError(
            f"{len(different)} of {len(expected)} texts differ from PyTorch; the first is "
            f"number {first}: {found[first].tokens}, expected {expected[first].tokens}"
        )
    most = _MOST_DIFFERENCE.get(precision)
    if least_equal and most is not None and comparison.logprob_difference > most:
        raise ParityError(
            "log-probabilities differ from PyTorch's by up to "
            f"{comparison.logprob_difference:.3g}; expected at most {most} in {precision}"
        )
    return comparison
