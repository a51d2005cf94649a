"""Operators with shapes at every edge of the kernels' tiles, and with shapes that disagree."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto

from model_export import operators
from model_export.builder import GraphBuilder
from model_export.fused_products import floats_in_blocks
from model_export.quantisation import in_blocks, quantised
from tests.engine.kernel_harness.cases import Case

_FLOATS = TensorProto.FLOAT
_INTEGERS = TensorProto.INT8
_TYPES = {
    "float32": _FLOATS, "float16": TensorProto.FLOAT16, "int8": _INTEGERS,
    "int32": TensorProto.INT32, "int64": TensorProto.INT64,
}  # fmt: skip
_TOKENS = TensorProto.INT64
# The type and rank of each output; of other operators floats, rank 3.
_OUTPUTS = {
    "CachedAttention": [(_FLOATS, 3), (_FLOATS, 4), (_FLOATS, 4)],
    "Candidates": [(_TOKENS, 2), (_FLOATS, 2), (_FLOATS, 2)],
    "Draw": [(_TOKENS, 1), (_FLOATS, 1), (_FLOATS, 1)],
    "EncoderAttention": [(_FLOATS, 2)],
    "Likeliest": [(_TOKENS, 2), (_FLOATS, 2)],
    "QuantiseHeads": [(_INTEGERS, 5), (_FLOATS, 5)],
}
_INPUT_SCALE = 0.02
_LARGEST_INPUT = 40.0  # of normal numbers, after a norm of normal factors


def definition(case: Case) -> list[np.ndarray]:
    """Return the results of ONNX Runtime by the operator's definition."""
    return computed(case)


def computed(
    case: Case, *, library: Path | None = None, domain: str = operators.DOMAIN
) -> list[np.ndarray]:
    """Return the results of ONNX Runtime by the kernels of `library`, or by the definition."""
    graph = GraphBuilder()
    for name, value in case.inputs.items():
        graph.input(name, _TYPES[str(value.dtype)], list(value.shape))
    for name, value in case.constants.items():
        graph.weight(name, value)
    made = graph.ops(
        case.kind, *case.inputs, *case.constants, outputs=case.outputs,
        domain=domain, **case.attributes,
    )  # fmt: skip
    outputs = _OUTPUTS.get(case.kind, [(_FLOATS, 3)])
    for place, (output, (dtype, rank)) in enumerate(zip(made, outputs, strict=True)):
        kind = TensorProto.FLOAT16 if domain == operators.HALF_DOMAIN else dtype
        graph.output(output, f"out{place}", kind, [f"{place}.{axis}" for axis in range(rank)])
    options = ort.SessionOptions()
    if library is not None:
        options.register_custom_ops_library(str(library))
    model = graph.model(case.kind, "").SerializeToString()
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, dict(case.inputs))
    return found


def wanted(case: Case) -> tuple[list[np.ndarray], float]:
    """Return the results that the case must give, and how far a number may be from them.

    An input of a product that is just between two integers may be rounded to either, which shifts a
    sum by one weight. Of caches only the part up to `past` is defined, and left out here.
    """
    outputs = definition(case)
    if case.kind.endswith("CrossAttentionInt8"):  # scores of hundreds, which are rounded more
        return outputs, 1e-4
    if "scales" not in case.constants:
        # A gate multiplies the rounding of each of its two products by the other.
        largest = float(np.abs(outputs[0]).max()) if "Gated" in case.kind else 0.0
        return outputs[:1] if case.kind == "CachedAttention" else outputs, 1e-5 + 1e-6 * largest
    unit = _INPUT_SCALE if "input_scale" in case.constants else _LARGEST_INPUT / 127
    one = 63 * float(case.constants["scales"].max()) * unit
    return outputs, 2 * one * (1 + float(np.abs(outputs[0]).max()) * ("Gated" in case.kind))


class Numbers:
    """Random inputs, the same in every run."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def normal(self, *shape: int) -> npt.NDArray[np.float32]:
        return self._random.standard_normal(shape).astype(np.float32)

    def integers(self, low: int, high: int, count: int) -> np.ndarray:
        return self._random.integers(low, high, count).astype(np.int32)


def product(numbers: Numbers, kind: str, rows: int, inputs: int, columns: int) -> Case:
    gated = kind.startswith("NormGatedLinear")
    matrices = [numbers.normal(inputs, columns) / np.float32(8) for _ in range(2 if gated else 1)]
    pairs = [quantised(matrix) for matrix in matrices]
    weights = [in_blocks(integers) for integers, _ in pairs]
    constants: dict[str, np.ndarray] = {
        "weight": np.stack(weights, axis=1) if gated else weights[0],
        "scales": np.stack([scales for _, scales in pairs]) if gated else pairs[0][1],
    }
    if not kind.endswith("ByRow"):
        constants["input_scale"] = np.array(_INPUT_SCALE, np.float32)
    x = {"x": numbers.normal(1, rows, inputs)}
    if kind.startswith("AddLinear"):
        return Case(kind, {"residual": numbers.normal(1, rows, columns), **x}, constants)
    constants = {"norm": numbers.normal(inputs), **constants}
    return Case(kind, x, constants, {"epsilon": 1e-6})


def float_product(numbers: Numbers, kind: str, rows: int, inputs: int, columns: int) -> Case:
    gated, added = kind.startswith("NormGatedLinear"), kind.startswith("AddLinear")
    matrices = [numbers.normal(inputs, columns) / 8 for _ in range(2 if gated else 1)]
    blocks = [floats_in_blocks(matrix.astype(np.float32)) for matrix in matrices]
    weight = np.stack(blocks, axis=1) if gated else blocks[0]
    residual = {"residual": numbers.normal(1, rows, columns)} if added else {}
    attributes = ({} if added else {"epsilon": 1e-6}) | ({} if gated else {"columns": columns})
    x = {"x": numbers.normal(1, rows, inputs)}
    return Case(kind, residual | x, {"weight": weight}, attributes)


def encoder(numbers: Numbers, lengths: list[int], heads: int, d_kv: int) -> Case:
    return Case(
        "EncoderAttention",
        {
            "joint": numbers.normal(sum(lengths), 3 * heads * d_kv),
            "lengths": np.array(lengths, np.int32),
        },
        {"biases": 3 * numbers.normal(13, heads)},
        {"num_heads": heads},
    )


def cross(numbers: Numbers, rows: int, length: int, heads: int, d_kv: int) -> Case:
    return Case(
        "CrossAttention",
        {
            "query": numbers.normal(rows, 1, heads * d_kv),
            "key": numbers.normal(rows, heads, length, d_kv),
            "value": numbers.normal(rows, heads, length, d_kv),
            "lengths": numbers.integers(1, length + 1, rows),
        },
        {},
        {"num_heads": heads},
    )


def cross_int8(numbers: Numbers, rows: int, length: int, heads: int, d_kv: int) -> Case:
    floats = cross(numbers, rows, length, heads, d_kv)
    keys = (rows, heads, length)
    read: dict[str, np.ndarray] = {}
    for part in ("key", "value"):
        whole = numbers.integers(-127, 128, rows * heads * length * d_kv)
        read[part] = whole.astype(np.int8).reshape(*keys, d_kv)
        read[f"{part}_scales"] = np.abs(numbers.normal(*keys, 1)) / 50
    inputs = {"query": floats.inputs["query"], **read, "lengths": floats.inputs["lengths"]}
    return Case("CrossAttentionInt8", inputs, {}, {"num_heads": heads})


def shared(case: Case, sources: list[int]) -> Case:
    """Return a case of `cross` or `cross_int8` with a row for each of `sources`."""
    _, _, width = case.inputs["query"].shape
    query = Numbers(len(sources)).normal(len(sources), 1, width)
    inputs = {**case.inputs, "query": query, "sources": np.array(sources, np.int32)}
    return Case(f"Shared{case.kind}", inputs, {}, case.attributes)


def heads_in_8_bits(numbers: Numbers, tokens: int, parts: int, heads: int, d_kv: int) -> Case:
    x = 3 * numbers.normal(tokens, parts, heads, d_kv)
    x[tokens // 2, 0] = 0.0  # has no largest number to scale by
    return Case("QuantiseHeads", {"x": x}, {}, {"num_heads": heads}, 2)


def cached(
    numbers: Numbers, rows: int, columns: int, heads: int, d_kv: int, distances: int = 6
) -> Case:
    return Case(
        "CachedAttention",
        {
            "joint": numbers.normal(rows, 1, 3 * heads * d_kv),
            "key": numbers.normal(rows, heads, columns, d_kv),
            "value": numbers.normal(rows, heads, columns, d_kv),
            "past": numbers.integers(0, columns, rows),
        },
        {"biases": 3 * numbers.normal(heads, distances)},
        {"num_heads": heads},
        3,
    )


def likeliest(numbers: Numbers, rows: int, tokens: int) -> Case:
    return Case("Likeliest", {"logits": numbers.normal(rows, 1, tokens)}, {}, {"size": 1}, 2)


def choosing(numbers: Numbers, rows: int, tokens: int, count: int) -> list[Case]:
    """Candidates and draws among the logits of three rows, some of whose tokens are adjusted."""
    many = min(3, tokens - 1)
    shared: dict[str, np.ndarray] = {
        "logits": numbers.normal(3, 1, tokens),
        "rows": numbers.integers(0, 3, rows).astype(np.int64),
        "tokens": np.tile(np.arange(many, dtype=np.int64), (rows, 1)),
        "biases": numbers.normal(rows, many),
        "penalties": 1.5 + 0 * numbers.normal(rows, many),
    }
    normalised: dict[str, np.ndarray]
    normalised = {"normalised": numbers.integers(0, 2, rows), "count": np.array([count])}
    drawing: dict[str, np.ndarray] = {
        "temperatures": 0.7 + 0 * numbers.normal(rows),
        "uniforms": np.linspace(0.1, 0.9, rows, dtype=np.float32),
    }
    return [
        Case("Candidates", shared | normalised, outputs=3),
        Case("Draw", shared | drawing, outputs=3),
    ]


def edge_cases() -> list[Case]:
    """Rows, columns and lengths around the sizes of vectors, tiles and blocks."""
    numbers = Numbers(7)
    return [
        *(
            product(numbers, kind, rows, inputs, columns)
            for kind in ("NormLinear", "AddLinear", "NormLinearByRow", "AddLinearByRow")
            for rows, inputs, columns in (
                (1, 4, 1), (2, 8, 15), (3, 12, 16), (4, 60, 17), (5, 64, 33), (6, 68, 48),
                (7, 20, 63), (11, 132, 64), (12, 16, 65), (13, 36, 100),
            )
        ),
        *(  # weights of more than one task
            product(numbers, kind, 7, 1028, 300) for kind in ("NormLinear", "AddLinearByRow")
        ),
        *(
            product(numbers, kind, rows, inputs, columns)
            for kind in ("NormGatedLinear", "NormGatedLinearByRow")
            for rows, inputs, columns in (
                (1, 4, 16), (2, 12, 32), (3, 8, 48), (4, 64, 16), (5, 20, 80), (6, 16, 64),
                (7, 28, 112), (13, 68, 16),
            )
        ),
        *(
            float_product(numbers, kind, rows, inputs, columns)
            for kind in ("NormLinearFloat", "AddLinearFloat")
            for rows, inputs, columns in (
                (1, 1, 1), (2, 7, 15), (3, 8, 16), (4, 60, 17), (5, 64, 33), (6, 67, 48),
                (7, 20, 63), (11, 129, 64), (12, 16, 65), (13, 36, 100), (20, 3, 130),
                (7, 1030, 140),
            )
        ),
        *(
            float_product(numbers, "NormGatedLinearFloat", rows, inputs, columns)
            for rows, inputs, columns in (
                (1, 1, 16), (2, 12, 32), (3, 7, 48), (4, 64, 16), (5, 20, 80), (6, 16, 64),
                (7, 29, 112), (13, 67, 16), (7, 1030, 80),
            )
        ),
        *(
            attention
            for d_kv in (1, 4, 7, 8, 15, 16, 17, 32, 33, 64, 80, 128, 255, 256)
            for attention in (
                encoder(numbers, [1, 5, 16], 2, d_kv),
                cross(numbers, 3, 17, 2, d_kv),
                cross_int8(numbers, 3, 17, 2, d_kv),
                heads_in_8_bits(numbers, 5, 2, 3, d_kv),
            )
        ),
        *(cached(numbers, 3, 9, 2, d_kv) for d_kv in (8, 16, 24, 32, 64, 72, 80, 256)),
        *(encoder(numbers, [length, 1], 1, 8) for length in (1, 2, 3, 15, 31, 33, 64, 65, 130)),
        *(
            attention(numbers, 2, length, 5, 20)
            for length in (1, 3, 4, 8, 16, 33, 64)
            for attention in (cross, cross_int8)
        ),
        *(
            cached(numbers, 2, columns, 5, 24, distances)
            for columns in (1, 3, 4, 8, 16, 33, 64)
            for distances in (1, 7, 64)
        ),
        *(likeliest(numbers, 3, tokens) for tokens in (2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64)),
        *(
            case
            for tokens, count in ((1, 1), (2, 2), (7, 3), (16, 16), (17, 1), (33, 20), (1030, 9))
            for case in choosing(numbers, 4, tokens, count)
        ),
        *_shared_cases(),
    ]  # fmt: skip


def _shared_cases() -> Iterator[Case]:
    """Sources of every number of rows up to and beyond those that are computed together."""
    numbers = Numbers(9)
    for of in (cross, cross_int8):
        for d_kv in (1, 4, 7, 8, 15, 16, 17, 32, 33, 64, 80, 128, 255, 256):
            yield shared(of(numbers, 3, 17, 2, d_kv), [2, 0, 0, 2, 2])
        for length in (1, 3, 8, 33):
            for sources in ([1], [0, 1], [1, 1], [0] * 4, [1, 0, 1, 1, 1, 1, 0, 1]):
                yield shared(of(numbers, 2, length, 5, 20), sources)


def _changed(case: Case, name: str, value: np.ndarray) -> Case:
    """The case with another value of one input or constant."""
    inputs, constants = dict(case.inputs), dict(case.constants)
    (inputs if name in inputs else constants)[name] = value
    return Case(case.kind, inputs, constants, case.attributes, case.outputs)


def lying_cases() -> Iterator[tuple[Case, str]]:
    """Operators whose shapes disagree, each with what the error must say."""
    numbers = Numbers(8)
    yield from _lying_products(numbers)
    yield from _lying_float_products(numbers)
    yield from _lying_encoder(numbers)
    yield from _lying_decoder(numbers)
    yield from _lying_sources(numbers)
    yield from _lying_choosing(numbers)


def _lying_products(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    plain = product(numbers, "NormLinear", 3, 16, 40)
    yield _changed(plain, "x", numbers.normal(1, 3, 12)), "number of inputs"
    yield _changed(plain, "x", numbers.normal(1, 3, 20)), "number of inputs"
    yield _changed(plain, "x", np.array(1, np.float32)), "number of inputs"
    yield _changed(plain, "norm", numbers.normal(12)), "norm must have a number for each input"
    yield _changed(plain, "norm", numbers.normal(20)), "norm must have a number for each input"
    yield _changed(plain, "scales", numbers.normal(49)), "a block for each 16 columns"
    yield _changed(plain, "scales", numbers.normal(16)), "a block for each 16 columns"
    yield _changed(plain, "scales", numbers.normal(2, 20)), "scales must be (columns)"
    yield _changed(plain, "scales", numbers.normal(0)), "a block for each 16 columns"
    yield _changed(plain, "input_scale", numbers.normal(2)), "input_scale must be one number"
    yield _changed(plain, "input_scale", numbers.normal(0)), "input_scale must be one number"
    weight = plain.constants["weight"]
    for wrong in (weight[..., :3], weight[:, :, :8], weight[0], weight[:, :0]):
        yield _changed(plain, "weight", np.ascontiguousarray(wrong)), "weight must"
    yield _changed(plain, "weight", np.full_like(weight, 64)), "weights must be within 63"
    yield _changed(plain, "weight", np.full_like(weight, -64)), "weights must be within 63"

    added = product(numbers, "AddLinear", 3, 16, 40)
    for shape in ((1, 3, 39), (1, 2, 40), (3, 40), (1, 3, 41)):
        yield _changed(added, "residual", numbers.normal(*shape)), "residual must have the rows"

    gated = product(numbers, "NormGatedLinear", 3, 16, 32)
    yield _changed(gated, "weight", gated.constants["weight"][:, :1].copy()), "(blocks, 2,"
    yield _changed(gated, "weight", gated.constants["weight"][:, 0].copy()), "(blocks, 2,"
    yield _changed(gated, "scales", numbers.normal(32)), "scales must be (2, columns)"
    yield _changed(gated, "scales", numbers.normal(1, 32)), "scales must be (2, columns)"
    yield _changed(gated, "scales", numbers.normal(2, 48)), "a block for each 16 columns"


def _lying_float_products(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    plain = float_product(numbers, "NormLinearFloat", 3, 16, 40)
    yield _changed(plain, "x", numbers.normal(1, 3, 12)), "number of inputs"
    yield _changed(plain, "x", np.array(1, np.float32)), "number of inputs"
    for shape in ((3, 16, 15), (3, 16), (3, 4, 16, 4)):
        yield _changed(plain, "weight", numbers.normal(*shape)), "weight must be (blocks, inputs"
    for blocks in (0, 2, 4):
        yield _changed(plain, "weight", numbers.normal(blocks, 16, 16)), "for each 16 columns"
    yield _changed(plain, "weight", numbers.normal(3, 0, 16)), "at least one input"
    for columns in (-1, 0, 32, 49):
        other = Case(plain.kind, plain.inputs, plain.constants, {"epsilon": 1, "columns": columns})
        yield other, "for each 16 columns"

    added = float_product(numbers, "AddLinearFloat", 3, 16, 40)
    for shape in ((1, 3, 39), (1, 2, 40), (3, 40), (1, 3, 41)):
        yield _changed(added, "residual", numbers.normal(*shape)), "residual must have the rows"

    gated = float_product(numbers, "NormGatedLinearFloat", 3, 16, 32)
    for shape in ((2, 1, 16, 16), (2, 16, 16), (2, 2, 16, 15)):
        yield _changed(gated, "weight", numbers.normal(*shape)), "weight must be (blocks, 2,"
    yield _changed(gated, "weight", numbers.normal(0, 2, 16, 16)), "for each 16 columns"


def _lying_encoder(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    rows = encoder(numbers, [3, 4], 2, 8)
    yield _changed(rows, "joint", numbers.normal(7, 47)), "joint must be"
    yield _changed(rows, "joint", numbers.normal(7, 0)), "from 1 to 256 numbers"
    yield _changed(rows, "joint", numbers.normal(7, 3 * 2 * 257)), "from 1 to 256 numbers"
    yield _changed(rows, "joint", numbers.normal(6, 48)), "add up"
    yield _changed(rows, "joint", numbers.normal(1, 7, 48)), "joint must be"
    yield _changed(rows, "lengths", np.array([3, 5], np.int32)), "add up"
    yield _changed(rows, "lengths", np.array([8, -1], np.int32)), "at least 1"
    yield _changed(rows, "lengths", np.array([2**31 - 1, 7], np.int32)), "at most"
    yield _changed(rows, "biases", numbers.normal(13, 1)), "biases must be"
    yield _changed(rows, "biases", numbers.normal(12, 2)), "distances odd"
    yield _changed(rows, "biases", numbers.normal(0, 2)), "distances odd"


def _lying_decoder(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    read = cross(numbers, 2, 5, 2, 8)
    yield _changed(read, "query", numbers.normal(2, 1, 15)), "query must be"
    yield _changed(read, "query", numbers.normal(1, 1, 16)), "query must be"
    yield _changed(read, "query", numbers.normal(2, 2, 16)), "query must be"
    yield _changed(read, "key", numbers.normal(2, 1, 5, 8)), "key must be"
    yield _changed(read, "key", numbers.normal(2, 2, 5)), "key must be"
    yield _changed(read, "value", numbers.normal(2, 2, 4, 8)), "value must have the shape of key"
    yield _changed(read, "lengths", np.array([5], np.int32)), "lengths must be (sources)"
    yield _changed(read, "lengths", np.array([5, 6], np.int32)), "from 1 to the length"
    yield _changed(read, "lengths", np.array([5, 0], np.int32)), "from 1 to the length"

    in_8_bits = cross_int8(numbers, 2, 5, 2, 8)
    yield _changed(in_8_bits, "key", np.zeros((2, 1, 5, 8), np.int8)), "key must be"
    yield _changed(in_8_bits, "value", np.zeros((2, 2, 4, 8), np.int8)), "value must have the shape"
    for name in ("key_scales", "value_scales"):
        for shape in ((2, 2, 4, 1), (2, 1, 5, 1), (1, 2, 5, 1), (2, 2, 5), (2, 2, 5, 0)):
            yield _changed(in_8_bits, name, numbers.normal(*shape)), "scales must be"

    heads = heads_in_8_bits(numbers, 5, 2, 3, 8)
    yield _changed(heads, "x", numbers.normal(5, 2, 2, 8)), "x must be"
    yield _changed(heads, "x", numbers.normal(5, 2, 3)), "x must be"
    yield _changed(heads, "x", numbers.normal(5, 2, 3, 257)), "from 1 to 256 numbers"

    written = cached(numbers, 2, 5, 2, 8)
    yield _changed(written, "joint", numbers.normal(2, 1, 47)), "joint must be"
    yield _changed(written, "joint", numbers.normal(3, 1, 48)), "joint must be"
    yield _changed(written, "key", numbers.normal(2, 3, 5, 8)), "key must be"
    yield _changed(written, "value", numbers.normal(2, 2, 5, 7)), "value must have the shape"
    yield _changed(written, "past", np.array([0], np.int32)), "past must be (batch)"
    yield _changed(written, "past", np.array([0, 5], np.int32)), "past must be from 0"
    yield _changed(written, "past", np.array([-1, 0], np.int32)), "past must be from 0"
    yield _changed(written, "biases", numbers.normal(3, 6)), "biases must be"
    yield _changed(written, "biases", numbers.normal(2, 0)), "biases must be"
    yield _changed(written, "biases", numbers.normal(6)), "biases must be"
    yield _changed(written, "biases", numbers.normal(4, 2, 1, 5)), "biases must be"
    yield _changed(written, "biases", numbers.normal(5, 2, 1, 4)), "biases must be"

    choice = likeliest(numbers, 2, 5)
    yield _changed(choice, "logits", numbers.normal(2, 5)), "logits must be"
    yield _changed(choice, "logits", numbers.normal(2, 2, 5)), "logits must be"
    yield _changed(choice, "logits", numbers.normal(2, 1, 1)), "logits must be"


def _lying_sources(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    for of in (cross, cross_int8):
        case = shared(of(numbers, 2, 5, 2, 8), [1, 0, 1])
        yield _changed(case, "sources", np.array([1, 0], np.int32)), "sources must be (batch)"
        yield _changed(case, "sources", np.array([[1, 0, 1]], np.int32)), "sources must be (batch)"
        for wrong in (-1, 2, np.iinfo(np.int32).max, np.iinfo(np.int32).min):
            changed = _changed(case, "sources", np.array([1, 0, wrong], np.int32))
            yield changed, "sources must be from 0"
        yield _changed(case, "query", numbers.normal(3, 1, 15)), "query must be"
        yield _changed(case, "lengths", np.array([5, 4, 3], np.int32)), "lengths must be (sources)"
        yield _changed(case, "lengths", np.array([5, 6], np.int32)), "from 1 to the length"


def _lying_choosing(numbers: Numbers) -> Iterator[tuple[Case, str]]:
    candidates, draw = choosing(numbers, 2, 9, 4)
    for case in (candidates, draw):
        yield _changed(case, "logits", numbers.normal(3, 9)), "logits must be"
        yield _changed(case, "logits", numbers.normal(3, 1, 0)), "logits must be"
        yield _changed(case, "rows", np.array([0, 3])), "rows must be indices"
        yield _changed(case, "rows", np.array([0, -1])), "rows must be indices"
        yield _changed(case, "tokens", np.array([0, 1])), "tokens must be (rows, adjustments)"
        yield _changed(case, "tokens", np.full((2, 3), 9)), "tokens must be from 0"
        yield _changed(case, "tokens", np.full((2, 3), -1)), "tokens must be from 0"
        yield _changed(case, "biases", numbers.normal(2, 2)), "the shape of tokens"
        yield _changed(case, "penalties", numbers.normal(1, 3)), "the shape of tokens"
    yield _changed(candidates, "normalised", np.array([1], np.int32)), "normalised must be (rows)"
    yield _changed(candidates, "count", np.array([0])), "count must be from 1"
    yield _changed(candidates, "count", np.array([10])), "count must be from 1"
    yield _changed(candidates, "count", np.array([1, 2])), "count must be (1)"
    yield _changed(draw, "temperatures", numbers.normal(1)), "must be (rows)"
    yield _changed(draw, "uniforms", numbers.normal(3)), "must be (rows)"
