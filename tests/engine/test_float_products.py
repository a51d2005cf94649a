"""Products in floats, by the kernels of every level, are what their definitions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.fused_products import floats_in_blocks
from tests.engine.kernel_harness.operator import Arrays, Operator, each_level, normal, seeds, some

each_kind = pytest.mark.parametrize("kind", ["NormLinear", "AddLinear", "NormGatedLinear"])
EPSILON = 1e-6


def matrices(random: np.random.Generator, kind: str, inputs: int, columns: int) -> list[np.ndarray]:
    """Gate and up, whose columns are a multiple of 16, or one matrix."""
    if kind != "NormGatedLinear":
        return [normal(random, inputs, columns)]
    scale = np.float32(inputs**-0.5)
    return [scale * normal(random, inputs, 16 * (1 + columns // 16)) for _ in range(2)]


def operator(kind: str, rows: Arrays, weights: list[np.ndarray]) -> Operator:
    blocks = [floats_in_blocks(matrix) for matrix in weights]
    weight = np.stack(blocks, axis=1) if len(blocks) == 2 else blocks[0]
    attributes: dict[str, Any] = {} if kind == "AddLinear" else {"epsilon": EPSILON}
    if len(blocks) == 1:
        attributes["columns"] = weights[0].shape[1]
    return Operator(f"{kind}Float", rows, {"weight": weight}, **attributes)


def rows_of(
    random: np.random.Generator, kind: str, rows: int, weights: list[np.ndarray], spread: float = 1
) -> Arrays:
    """Some rows are zeros."""
    inputs, columns = weights[0].shape
    x = np.float32(spread) * normal(random, 1, rows, inputs)
    x[:, random.random(rows) < 0.1] = 0.0
    return ({"residual": normal(random, 1, rows, columns)} if kind == "AddLinear" else {}) | {
        "x": x
    }


def exact(kind: str, rows: Arrays, weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the operator in fp64, and what a relative error of fp32 may change of each number."""
    x = rows["x"].astype(np.float64)
    if kind == "AddLinear":
        return rows["residual"] + x @ weights[0], np.abs(rows["residual"]) + np.abs(x) @ np.abs(
            weights[0]
        )
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPSILON)
    products = [x @ matrix.astype(np.float64) for matrix in weights]
    sizes = [np.abs(x) @ np.abs(matrix) for matrix in weights]
    if kind == "NormLinear":
        return products[0], sizes[0]
    gate, up = products
    active = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
    return active * up, sizes[0] * (np.abs(up) + sizes[1]) + np.abs(active) * sizes[1]


@each_kind
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 160), st.integers(1, 300), st.floats(0.01, 100))
def test_products_in_floats(
    kind: str, level: str, seed: int, rows: int, inputs: int, columns: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    weights = matrices(random, kind, inputs, columns)
    given_rows = rows_of(random, kind, rows, weights, spread)
    case = operator(kind, given_rows, weights)
    expected, size = exact(kind, given_rows, weights)
    for found in (case.by_kernel(level)[0], case.by_definition()[0]):
        assert (np.abs(found - expected) <= 2e-6 * size + 1e-30).all()


@each_kind
@each_level
def test_weights_of_several_tasks(kind: str, level: str) -> None:
    """They have more bytes than a task reads, and tiles too large to be fetched ahead."""
    random = np.random.default_rng(4)
    weights = matrices(random, kind, 1100, 300)
    given_rows = rows_of(random, kind, 20, weights)
    found = operator(kind, given_rows, weights).by_kernel(level)[0]
    expected, size = exact(kind, given_rows, weights)
    assert (np.abs(found - expected) <= 2e-6 * size).all()


@each_kind
@each_level
def test_a_row_does_not_depend_on_the_rows_beside_it(kind: str, level: str) -> None:
    """To the bit, in batches of every number of rows that a tile may have."""
    random = np.random.default_rng(3)
    weights = matrices(random, kind, 67, 200)
    together = rows_of(random, kind, 14, weights)
    whole = operator(kind, together, weights).by_kernel(level)[0]
    for rows in range(1, 14):
        some_rows = {name: value[:, 1 : 1 + rows].copy() for name, value in together.items()}
        part = operator(kind, some_rows, weights).by_kernel(level)[0]
        assert np.array_equal(part, whole[:, 1 : 1 + rows])


@each_kind
@each_level
def test_rows_of_another_width_are_refused(kind: str, level: str) -> None:
    random = np.random.default_rng(0)
    weights = matrices(random, kind, 64, 16)
    rows = rows_of(random, kind, 1, weights)
    rows["x"] = np.ones((1, 1, 60), np.float32)
    with pytest.raises(Exception, match="must be the weights' number of inputs"):
        operator(kind, rows, weights).by_kernel(level)
