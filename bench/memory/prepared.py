"""Prepare questions and a bundle of a large shape, once, in a cache folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from transformers import T5Config

from bench.engines.random_weights import write_random
from engine.bundle import MANIFEST, TOKENIZER, Limits, load_manifest
from engine.tokens import TextCodec
from equations.formats import FORMATS
from model_export.assembly import Identity
from model_export.bundle import write_bundle
from training.data import GENERATED, TEST_SPLIT, generate, read, split_file

_SEED = 7
_STEPS = 64


def empty_graph(cache: Path) -> Path:
    """Write a graph of one operator and no weights."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "empty", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    cache.mkdir(parents=True, exist_ok=True)
    onnx.save(model, cache / "empty.onnx")
    return cache / "empty.onnx"


def base_bundle(cache: Path) -> Path:
    """Write a bundle of FLAN-T5-base's shape with random weights, in fp32 (1 GB)."""
    out, checkpoint = cache / "base" / "bundle", cache / "base" / "checkpoint"
    if (out / MANIFEST).exists():
        return out
    config = T5Config(
        vocab_size=32128, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_decoder_layers=12,
        num_heads=12, dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False,
        pad_token_id=0, eos_token_id=32127, decoder_start_token_id=0,
    )  # fmt: skip
    checkpoint.mkdir(parents=True, exist_ok=True)
    write_random(config, checkpoint, _STEPS)
    identity = Identity("base", "0", "text", "answer", Limits(512, _STEPS), {})
    source = list(range(3, 23))
    write_bundle(checkpoint, out, identity, [source], lambda _: "Random.\n", least_equal=0.0)
    shutil.rmtree(checkpoint)
    return out


def questions(cache: Path, count: int, bundle: Path) -> Path:
    """Write a file with the token ids of `count` fresh questions, in the bundle's format."""
    folder = cache / f"memory-questions-{count}"
    if not (folder / GENERATED).exists():
        generate(folder, train=0, test=count, seed=_SEED, workers=1)
    problems = read(split_file(folder, TEST_SPLIT))
    codec = TextCodec(bundle / TOKENIZER)
    encode = FORMATS[load_manifest(bundle).prompt_format].encode
    sources = [codec.encode(encode(problem.question)) for problem in problems]
    (folder / "sources.json").write_text(json.dumps(sources))
    return folder / "sources.json"
