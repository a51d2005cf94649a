"""fp16 with FLAN-T5's overflowing products left in fp32, and weights in files of their own."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5LayerFF

from engine.bundle import REFERENCE, BundleError, load_manifest
from model_export.builder import FLOAT, FLOAT16
from model_export.checkpoint.configuration import parse_configuration
from model_export.products import Numbers
from model_export.stack import Stack
from tests.model_export.test_bundle import SHIPPED, export
from training.data import Problem

WIDTH = 16


def feed_forward(layer: T5LayerFF, config: T5Config, numbers: Numbers) -> onnx.ModelProto:
    """The exported graph of one feed-forward."""
    name = "encoder.block.0.layer.1"
    weights = {f"{name}.{key}": value.numpy() for key, value in layer.state_dict().items()}
    ours = parse_configuration(config.to_dict(), Path("config.json"))
    stack = Stack(ours, weights, None, numbers)
    value = stack.graph.input("value", FLOAT, ["rows", WIDTH])
    stack.graph.output(stack.feed_forward(value, name), "out", FLOAT, ["rows", WIDTH])
    return stack.graph.model("feed_forward", "")


@pytest.fixture
def large() -> tuple[T5LayerFF, T5Config]:
    """A gated layer whose output is beyond fp16's largest number, as FLAN-T5's are."""
    config = T5Config(d_model=WIDTH, d_ff=32, feed_forward_proj="gated-gelu", dropout_rate=0.0)
    layer = T5LayerFF(config).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(1.0)
        layer.DenseReluDense.wo.weight.fill_(20.0)
    return layer, config


def test_wo_overflows_in_fp16_and_is_kept_out_of_it(large: tuple[T5LayerFF, T5Config]) -> None:
    """ONNX's reference computes in the types of the graph, as CUDA does.

    ONNX Runtime's CPU has no fp16 products: it puts casts around them, joins these with the
    graph's, and computes in fp32 what is left.
    """
    layer, config = large
    ones = np.ones((1, WIDTH), np.float32)
    with torch.no_grad():
        expected = layer(torch.from_numpy(ones)).numpy()
    assert expected.max() > np.finfo(np.float16).max
    kept, lost = (
        feed_forward(layer, config, numbers)
        for numbers in (Numbers(half=True), Numbers(half=True, keep=()))
    )
    with np.errstate(over="ignore"):
        (overflown,), (right,) = (
            ReferenceEvaluator(graph).run(["out"], {"value": ones}) for graph in (lost, kept)
        )
    assert np.isinf(overflown).all()
    np.testing.assert_allclose(np.asarray(right), expected, rtol=2e-3)
    session = ort.InferenceSession(kept.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"value": ones})[0], expected, rtol=2e-3)


def test_fp16_says_nearly_what_pytorch_says_in_fp32(
    tmp_path: Path, problems: list[Problem]
) -> None:
    """The shipped weights are compared, as for int8."""
    manifest = export(SHIPPED, tmp_path / "fp16", problems[:40], "fp16")
    whole = export(SHIPPED, tmp_path / "fp32", problems[:2])
    assert manifest.precision == "fp16"
    assert manifest.provenance["parity"]["equal"] >= 38
    graph = onnx.load(tmp_path / "fp16" / "decoder.onnx").graph
    inputs = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    caches = {kind for name, kind in inputs.items() if "key." in name or "value." in name}
    assert caches == {FLOAT16}
    assert {value.name for value in graph.output if value.type.tensor_type.elem_type == FLOAT} == {
        "logits",
        "logprobs",
    }
    types = {weight.name: weight.data_type for weight in graph.initializer}
    wholes = {name for name, kind in types.items() if kind == FLOAT and "layer." in name}
    assert {name for name in wholes if "norm" not in name and "bias" not in name} == {
        f"decoder.block.{layer}.layer.2.DenseReluDense.wo" for layer in range(4)
    }
    assert manifest.files["decoder.onnx"]["bytes"] < whole.files["decoder.onnx"]["bytes"] * 0.8


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_in_files_of_their_own_are_the_same_weights(
    tmp_path: Path, problems: list[Problem], precision: str
) -> None:
    inside = export(SHIPPED, tmp_path / "inside", problems[:20], precision)
    beside = export(SHIPPED, tmp_path / "beside", problems[:20], precision, most_inline=0)
    assert set(beside.files) - set(inside.files) == {"encoder.onnx.data", "decoder.onnx.data"}
    assert beside.files["decoder.onnx"]["bytes"] < inside.files["decoder.onnx"]["bytes"] / 10
    assert load_manifest(tmp_path / "beside") == beside
    references = [(tmp_path / name / REFERENCE).read_text() for name in ("inside", "beside")]
    assert references[0] == references[1]
    with (tmp_path / "beside" / "decoder.onnx.data").open("r+b") as file:
        file.write(b"?")
    with pytest.raises(BundleError, match="data: damaged"):
        load_manifest(tmp_path / "beside")
