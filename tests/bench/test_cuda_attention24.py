"""Cross-attention by ONNX's `Attention` gives what the bundle's own definition does."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cuda.measure.attention24 import with_attention24
from bench.engines.random_weights import RANDOM, write_checkpoint
from engine.bundle import DECODER, Limits, read_manifest
from engine.contracts import Hypothesis, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.convert import convert

PROMPTS = [
    Prompt((*(2 + (7 * place + length) % 50 for place in range(length)), 59))
    for length in (1, 30, 2, 17, 40, 5)
]


def answers(bundle: Path) -> tuple[list[Hypothesis], set[str]]:
    """Return the answers of six rows with sources of different lengths, and the decoder's types."""
    model = OrtModel(bundle, read_manifest(bundle), threads=1, provider="cpu", kernels="none")
    parts = model.decoder.get_provider_graph_assignment_info()
    types = {node.op_type for part in parts for node in part.get_nodes()}
    found = generate(OrtEngine(model, rows=len(PROMPTS)), PROMPTS)
    return [answer.best for answer in found], types


def test_the_variant_gives_the_answers_of_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    write_checkpoint(RANDOM["tiny"], tmp_path / "checkpoint")
    bundle = tmp_path / "bundle"
    convert(tmp_path / "checkpoint", bundle, precision="fp16", limits=Limits(64, 12))
    before = (bundle / DECODER).read_bytes()
    expected, own_types = answers(bundle)
    folder = with_attention24(bundle)
    assert folder == with_attention24(bundle)  # it is there
    found, types = answers(folder)
    assert (bundle / DECODER).read_bytes() == before
    assert "Attention" in types - own_types
    assert "MultiHeadAttention" in own_types - types
    for one, other in zip(found, expected, strict=True):
        assert one.tokens == other.tokens
        assert one.logprobs == pytest.approx(other.logprobs, abs=5e-3)
    sources_differ = {round(one.logprobs[0], 2) for one in expected}
    assert len(sources_differ) > 1
