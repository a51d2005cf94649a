"""The exported graphs against PyTorch, over the features of the T5 family."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import onnx
import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from engine.bundle import (
    DECODER,
    MANIFEST,
    REFERENCE,
    BundleError,
    Limits,
    Manifest,
    load_manifest,
)
from engine.contracts import Hypothesis, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from model_export.__main__ import main
from model_export.assembly import MOST_INLINE, Identity, sources_of
from model_export.bundle import write_bundle
from model_export.checkpoint.errors import CheckpointError
from model_export.checkpoint.reading import read_checkpoint
from model_export.parity import Comparison, ParityError, compare, engine_answers
from model_export.reference import Reference
from model_export.single import compare_with_reference, single_tokens, write_single
from training.data import Problem
from training.model import PRESETS, SmallT5, save_plain
from training.vocabulary import Vocabulary

FAMILY: dict[str, dict[str, Any]] = {
    "small T5 of ours": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "the first T5": {"feed_forward_proj": "relu", "tie_word_embeddings": True},
    "FLAN-T5-small's odd shape": {"feed_forward_proj": "gated-gelu", "num_heads": 3, "d_kv": 24},
    "deeper encoder": {"num_layers": 3, "num_decoder_layers": 1},
    # With weights of the size of the others PyTorch's fp32 is 0.02 from its fp64 on some questions.
    "short distances": {
        "relative_attention_max_distance": 12, "relative_attention_num_buckets": 8,
        "initializer_factor": 2.0,
    },
}  # fmt: skip
PREDICTABLE = 200
SHIPPED = Path(__file__).resolve().parents[2] / "models" / "cybersolve-mini-checkpoint"


def checkpoint(folder: Path, predictable: int = PREDICTABLE, **overrides: object) -> Path:
    torch.manual_seed(0)
    vocabulary = Vocabulary.digits()
    shape = {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_decoder_layers": 2,
        "num_heads": 4, "dropout_rate": 0.0, "initializer_factor": 3.0,
    }  # fmt: skip
    config = T5Config(
        vocab_size=len(vocabulary.tokens),
        decoder_start_token_id=0,
        **{**shape, **overrides},
    )
    model = T5ForConditionalGeneration(config).eval()
    # Few tokens to choose from: among many, random weights often tie to the last digit.
    model.generation_config.suppress_tokens = list(range(predictable, config.vocab_size))
    save_plain(model, vocabulary.tokenizer(), folder)
    return folder


def export(
    folder: Path,
    out: Path,
    problems: Sequence[Problem],
    precision: str = "fp32",
    *,
    steps: int = 16,
    most_inline: int = MOST_INLINE,
) -> Manifest:
    limits = Limits(200, steps)
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


def test_the_cache_grows_with_the_answers(tmp_path: Path, problems: list[Problem]) -> None:
    """Twice beyond its first columns, while rows have any number of tokens; PyTorch's tokens."""
    folder = checkpoint(tmp_path / "checkpoint", **FAMILY["short distances"])
    manifest = export(folder, tmp_path / "bundle", problems[:20], steps=100)
    assert manifest.provenance["parity"]["equal"] == 20
    reference = json.loads((tmp_path / "bundle" / REFERENCE).read_text())
    assert max(len(case["tokens"]) for case in reference) > 64


@pytest.mark.parametrize("predictable", [197, 64, 126])
def test_any_number_of_tokens_may_be_predicted(
    predictable: int, tmp_path: Path, problems: list[Problem]
) -> None:
    """Also where they do not fall into groups of a good size: a prime, one group's worth."""
    folder = checkpoint(tmp_path / "checkpoint", predictable=predictable)
    export(folder, tmp_path / "bundle", problems[:30])


def test_int8_says_nearly_what_pytorch_says(tmp_path: Path, problems: list[Problem]) -> None:
    """The shipped weights are needed: random ones are too unsure of their tokens."""
    whole = export(SHIPPED, tmp_path / "fp32", problems[:40])
    small = export(SHIPPED, tmp_path / "int8", problems[:40], "int8")
    assert (small.precision, whole.precision) == ("int8", "fp32")
    assert 30 <= small.provenance["parity"]["equal"] <= 40
    assert small.files["decoder.onnx"]["bytes"] < whole.files["decoder.onnx"]["bytes"] / 2


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_other_processors_give_the_same_tokens(
    tmp_path: Path, problems: list[Problem], precision: str
) -> None:
    """Those have no kernels of our own; rounding to int8 may change a token now and then."""
    manifest = export(SHIPPED, tmp_path / "bundle", problems[:40], precision, steps=96)
    sources = sources_of([p.question for p in problems[:40]], "digits", SHIPPED)
    ours, theirs = (
        generate(
            OrtEngine(OrtModel(tmp_path / "bundle", manifest, threads=1, kernels=level), rows=16),
            [Prompt(tuple(source)) for source in sources],
        )
        for level in ("auto", "none")
    )
    different = sum(a.best.tokens != b.best.tokens for a, b in zip(ours, theirs, strict=True))
    assert different <= (0 if precision == "fp32" else 2)


def test_one_file_answers_as_the_bundle_does(bundle: Path, tmp_path: Path) -> None:
    """Rows of different lengths in one call, against what each said in the engine."""
    file, manifest = tmp_path / "single.onnx", load_manifest(bundle)
    write_single(bundle, manifest, file)
    random = Random(0)
    sources = [[random.randrange(2700, 4000) for _ in range(n)] + [1] for n in (1, 5, 17, 40) * 5]
    answers = [answer.tokens for answer in engine_answers(bundle, manifest, sources)]
    assert single_tokens(file, manifest, sources) == answers
    assert compare_with_reference(file, bundle, manifest) == (4, 4)


def test_one_file_is_not_made_of_a_cache_of_a_fixed_size(bundle: Path, tmp_path: Path) -> None:
    """Format 4 had one, and keeps it when it is upgraded."""
    older = tmp_path / "older"
    shutil.copytree(bundle, older)
    decoder = onnx.load(older / DECODER)
    key = next(value for value in decoder.graph.input if value.name == "key.0")
    key.type.tensor_type.shape.dim[2].dim_value = 8
    onnx.save(decoder, older / DECODER)
    with pytest.raises(BundleError, match=r"decoder\.onnx: a cache of 8 columns; expected one"):
        write_single(older, load_manifest(bundle), tmp_path / "single.onnx")


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_one_file_stops_where_every_row_has_ended(
    tmp_path: Path, problems: list[Problem], precision: str
) -> None:
    """The shipped weights do end, each question at its own place."""
    shipped = Path(__file__).resolve().parents[2] / "models" / "cybersolve-mini-checkpoint"
    manifest = export(shipped, tmp_path / "bundle", problems[:20], precision, steps=96)
    file = tmp_path / "single.onnx"
    write_single(tmp_path / "bundle", manifest, file)
    assert compare_with_reference(file, tmp_path / "bundle", manifest) == (20, 20)


def test_parity_tells_near_ties_from_differences(
    bundle: Path, tmp_path: Path, problems: list[Problem]
) -> None:
    """Against its own checkpoint nothing differs; against another one nearly everything does."""
    manifest = load_manifest(bundle)
    checkpoint = bundle.parent / "checkpoint"
    sources = sources_of([p.question for p in problems[:20]], "digits", checkpoint)
    found = engine_answers(bundle, manifest, sources)

    def against(folder: Path) -> Comparison:
        expected = Reference(read_checkpoint(folder)).answers(sources, 8)
        return compare(found, expected)

    report = against(checkpoint)
    assert (report.questions, report.different) == (20, 0)
    assert report.logprob_difference < 1e-4
    torch.manual_seed(1)
    vocabulary = Vocabulary.digits()
    save_plain(SmallT5(PRESETS["test"], vocabulary).plain(), vocabulary.tokenizer(), tmp_path)
    assert against(tmp_path).different > 10


def test_a_failed_export_leaves_the_old_bundle(
    tmp_path: Path, problems: list[Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = checkpoint(tmp_path / "checkpoint"), tmp_path / "out" / "bundle"
    export(folder, out, problems[:4])
    before = (out / MANIFEST).read_bytes()
    wrong = lambda *_: [Hypothesis([5], [-1.0], [6], [-2.0])] * 4  # noqa: E731
    monkeypatch.setattr("model_export.bundle.engine_answers", wrong)
    with pytest.raises(ParityError, match="4 of 4 texts differ"):
        export(folder, out, problems[:4])
    assert (out / MANIFEST).read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_an_unknown_activation_is_refused(tmp_path: Path, problems: list[Problem]) -> None:
    folder = checkpoint(tmp_path / "checkpoint", feed_forward_proj="gated-tanh")
    with pytest.raises(CheckpointError, match="activation 'tanh'; expected one of relu, gelu"):
        export(folder, tmp_path / "bundle", problems[:4])


def test_a_model_of_another_task_is_compared_on_texts(tmp_path: Path) -> None:
    """`python -m model_export export` does the same; equations have no part in it."""
    texts = tmp_path / "texts.txt"
    texts.write_text("L+1x0^1 R+4k1^0\n\nR+4k1^0 L+2x0^0\n")
    folder = checkpoint(tmp_path / "checkpoint")
    out = tmp_path / "bundle"
    arguments = f"export {folder} --out {out} --precision fp32"
    limits = "--max-source-tokens 512 --max-new-tokens 16"
    assert main([*arguments.split(), *limits.split(), "--texts", str(texts)]) == 0
    manifest = load_manifest(out)
    assert not manifest.solves
    assert (manifest.name, manifest.version) == ("bundle", "1.0.0")
    assert manifest.limits == Limits(512, 16)
    assert manifest.provenance["parity"]["equal"] == manifest.provenance["parity"]["questions"] == 2
    assert "POST /generate" in (out / "README.md").read_text()


def test_a_file_without_texts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("\n \n")
    folder = checkpoint(tmp_path / "checkpoint")
    arguments = ["export", str(folder), "--out", str(tmp_path / "bundle")]
    assert main([*arguments, "--texts", str(tmp_path / "texts.txt")]) == 1
    assert "no text; expected one a line" in capsys.readouterr().err


def test_a_limit_shorter_than_the_texts_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service would refuse the second text, and the bundle would be compared on it."""
    (tmp_path / "texts.txt").write_text("L+1x0^1\nL+1x0^1 R+4k1^0 R+4k1^0\n")
    folder, out = checkpoint(tmp_path / "checkpoint"), tmp_path / "bundle"
    arguments = f"export {folder} --out {out} --texts {tmp_path / 'texts.txt'}"
    assert main([*arguments.split(), "--max-source-tokens", "3"]) == 1
    assert "text 2 of those compared has 4 tokens; expected at most 3" in capsys.readouterr().err
    assert not out.exists()
