"""The outputs of an operator by ONNX Runtime: by its definition, or by a library of kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto

from model_export import operators
from model_export.builder import GraphBuilder
from tests.engine.kernel_harness.cases import Case

_FLOATS = TensorProto.FLOAT
_INTEGERS = TensorProto.INT8
_TYPES = {
    "float32": _FLOATS, "float16": TensorProto.FLOAT16, "int8": _INTEGERS,
    "int32": TensorProto.INT32, "int64": TensorProto.INT64,
}  # fmt: skip
_TOKENS = TensorProto.INT64
# The type and rank of each output; of other operators one of floats, of the first input's rank.
_OUTPUTS = {
    "CachedAttention": [(_FLOATS, 3), (_FLOATS, 4), (_FLOATS, 4)],
    "Candidates": [(_TOKENS, 2), (_FLOATS, 2), (_FLOATS, 2)],
    "Draw": [(_TOKENS, 1), (_FLOATS, 1), (_FLOATS, 1)],
    "EncoderAttention": [(_FLOATS, 2)],
    "Likeliest": [(_TOKENS, 2), (_FLOATS, 2)],
    "QuantiseHeads": [(_INTEGERS, 5), (_FLOATS, 5)],
}
INPUT_SCALE = 0.02
_LARGEST_INPUT = 40.0  # of normal numbers, after a norm of normal factors


def computed(
    case: Case, *, library: Path | None = None, domain: str = operators.DOMAIN
) -> list[np.ndarray]:
    """Return the outputs of the operator: by the kernels of `library`, or by its definition."""
    graph = GraphBuilder()
    for name, value in case.inputs.items():
        graph.input(name, _TYPES[str(value.dtype)], list(value.shape))
    for name, value in case.constants.items():
        graph.weight(name, value)
    made = graph.ops(
        case.kind, *case.inputs, *case.constants, outputs=case.outputs,
        domain=domain, **case.attributes,
    )  # fmt: skip
    first = next(iter(case.inputs.values()))
    outputs = _OUTPUTS.get(case.kind, [(_FLOATS, first.ndim)])
    for place, (output, (dtype, rank)) in enumerate(zip(made, outputs, strict=True)):
        kind = TensorProto.FLOAT16 if domain == operators.HALF_DOMAIN else dtype
        graph.output(output, f"out{place}", kind, [f"{place}.{axis}" for axis in range(rank)])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    if library is not None:
        options.register_custom_ops_library(str(library))
    model = graph.model(case.kind, "").SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, dict(case.inputs))
    return found


def wanted(case: Case) -> tuple[list[np.ndarray], float]:
    """Return what the case must give, and how far a number may be from it.

    An input of a product that is just between two integers may be rounded to either, which shifts a
    sum by one weight. Of caches only the part up to `past` is defined, and left out here.
    """
    outputs = computed(case)
    if case.kind.endswith("CrossAttentionInt8"):  # scores of hundreds, which are rounded more
        return outputs, 1e-4
    if "scales" not in case.constants:
        # A gate multiplies the rounding of each of its two products by the other.
        largest = float(np.abs(outputs[0]).max()) if "Gated" in case.kind else 0.0
        return outputs[:1] if case.kind == "CachedAttention" else outputs, 1e-5 + 1e-6 * largest
    unit = INPUT_SCALE if "input_scale" in case.constants else _LARGEST_INPUT / 127
    one = 63 * float(case.constants["scales"].max()) * unit
    return outputs, 2 * one * (1 + float(np.abs(outputs[0]).max()) * ("Gated" in case.kind))
