"""The exported graphs against PyTorch, over the features of the T5 family."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from model_export.bundle import MOST_INLINE, Identity, ParityError, sources_of, write_bundle
from model_export.graphs import UnsupportedCheckpoint
from service.engine.bundle import MANIFEST, REFERENCE, Limits, Manifest, load_manifest
from training.data import Problem
from training.model import save_plain
from training.vocabulary import Vocabulary

FAMILY = {
    "small T5 of ours": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "the first T5": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
    "FLAN-T5-small's odd shape": {"feed_forward_proj": "gated-gelu", "num_heads": 3, "d_kv": 24},
    "deeper encoder": {"num_layers": 3, "num_decoder_layers": 1},
    "short distances": {"relative_attention_max_distance": 12, "relative_attention_num_buckets": 8},
}
PREDICTABLE = 200
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "cybersolve-mini-checkpoint"


def checkpoint(folder: Path, **overrides: object) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    shape = {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_decoder_layers": 2,
        "num_heads": 4, "dropout_rate": 0.0,
    }  # fmt: skip
    config = T5Config(
        vocab_size=len(vocabulary.tokens),
        decoder_start_token_id=0,
        initializer_factor=3.0,
        **{**shape, **overrides},
    )
    model = T5ForConditionalGeneration(config).eval()
    # Few tokens to choose from: among many, random weights often tie to the last digit.
    model.generation_config.suppress_tokens = list(range(PREDICTABLE, config.vocab_size))
    save_plain(model, vocabulary.tokenizer(), folder)
    return folder


def export(
    folder: Path,
    out: Path,
    problems: Sequence[Problem],
    precision: str = "fp32",
    most_inline: int = MOST_INLINE,
) -> Manifest:
    limits = Limits(200, 16)
    identity = Identity("test", "0.0.1", "digits", "work", limits, {}, precision=precision)
    sources = sources_of([p.question for p in problems], "digits", folder)
    return write_bundle(folder, out, identity, sources, lambda _: "card\n", most_inline=most_inline)


@pytest.mark.parametrize("feature", FAMILY)
def test_tokens_equal_pytorch_across_the_family(
    feature: str, tmp_path: Path, problems: list[Problem]
) -> None:
    """`write_bundle` compares every question and raises `ParityError` at the first difference."""
    folder = checkpoint(tmp_path / "checkpoint", **FAMILY[feature])
    manifest = export(folder, tmp_path / "bundle", problems[:100])
    assert load_manifest(tmp_path / "bundle") == manifest
    reference = json.loads((tmp_path / "bundle" / REFERENCE).read_text())
    assert len({tuple(case["tokens"]) for case in reference}) > 10  # not one answer for all


def test_int8_says_nearly_what_pytorch_says(tmp_path: Path, problems: list[Problem]) -> None:
    """With the shipped weights: random ones are too unsure of what they say."""
    whole = export(SHIPPED, tmp_path / "fp32", problems[:40])
    small = export(SHIPPED, tmp_path / "int8", problems[:40], "int8")
    assert (small.precision, whole.precision) == ("int8", "fp32")
    assert 30 <= small.provenance["parity"]["equal"] <= 40
    assert small.files["decoder.onnx"]["bytes"] < whole.files["decoder.onnx"]["bytes"] / 2


def test_a_failed_export_leaves_the_old_bundle(
    tmp_path: Path, problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = checkpoint(tmp_path / "checkpoint"), tmp_path / "out" / "bundle"
    export(folder, out, problems[:4])
    before = (out / MANIFEST).read_bytes()
    wrong = lambda *_: [[5]] * 4  # noqa: E731
    monkeypatch.setattr("model_export.bundle.engine_tokens", wrong)
    with pytest.raises(ParityError, match="4 of 4 questions differ"):
        export(folder, out, problems[:4])
    assert (out / MANIFEST).read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_an_unknown_activation_is_refused(tmp_path: Path, problems: list[Problem]) -> None:
    folder = checkpoint(tmp_path / "checkpoint", feed_forward_proj="gated-silu")
    with pytest.raises(UnsupportedCheckpoint, match="activation silu; expected relu or gelu_new"):
        export(folder, tmp_path / "bundle", problems[:4])
