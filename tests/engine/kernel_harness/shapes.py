"""Operators with shapes at every edge of the kernels' tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from model_export.fused_products import floats_in_blocks
from model_export.quantisation import in_blocks, quantised
from tests.engine.kernel_harness.cases import Case
from tests.engine.kernel_harness.definitions import INPUT_SCALE


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
        constants["input_scale"] = np.array(INPUT_SCALE, np.float32)
    x = {"x": numbers.normal(1, rows, inputs)}
    if kind.startswith("AddLinear"):
        return Case(kind, {"residual": numbers.normal(1, rows, columns), **x}, constants)
    constants = {"norm": numbers.normal(inputs), **constants}
    return Case(kind, x, constants, {"epsilon": 1e-6})


def product_of_equal_weights(
    numbers: Numbers, rows: int, inputs: int, columns: int, weight: int
) -> Case:
    case = product(numbers, "AddLinearByRow", rows, inputs, columns)
    weights = np.full_like(case.constants["weight"], weight)
    return replace(case, constants={**case.constants, "weight": weights})


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
        *(  # weights of which no two quads are added in 16 bits
            product_of_equal_weights(numbers, 7, 20, 40, weight) for weight in (-63, 63)
        ),
        *(
            product(numbers, kind, rows, inputs, columns)
            for kind in ("NormGatedLinear", "NormGatedLinearByRow")
            for rows, inputs, columns in (
                (1, 4, 16), (2, 12, 32), (3, 8, 48), (4, 64, 16), (5, 20, 80), (6, 16, 64),
                (7, 28, 112), (13, 68, 16), (7, 1028, 112),  # the last of more than one task
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
