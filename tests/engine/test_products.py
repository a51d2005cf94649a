"""Products in 8 bits by the kernels of every level are what the definitions say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.quantisation import in_blocks, quantised
from tests.engine.kernel_harness.operator import Arrays, Operator, each_level, normal, seeds, some


def scaled(random: np.random.Generator, rows: int, columns: int, spread: float) -> np.ndarray:
    """Rows (1, rows, columns) of which some are zeros, and with `spread` some beyond the range."""
    x = spread * normal(random, 1, rows, columns)
    x[:, random.random(rows) < 0.1] = 0.0
    return x


each_form = pytest.mark.parametrize("form", ["", "ByRow"], ids=["one scale", "by row"])


def input_scale(form: str, value: float) -> Arrays:
    """Return the constant that only products with one scale for all rows take."""
    return {} if form else {"input_scale": np.array(value, np.float32)}


def rounding_step(form: str, one_scale: float, largest: float) -> float:
    """Return what one unit of a rounded input stands for, at most."""
    return float(largest) / 127 if form else one_scale


def close(found: np.ndarray, expected: np.ndarray, step: float) -> None:
    """Equal, but that an input just between two integers may be rounded to either.

    `step` is what that changes at the most; a row has two such inputs at the most.
    """
    equal = np.isclose(found, expected, rtol=1e-4, atol=1e-4).all(axis=-1)
    assert equal.mean() > 0.8 or found.shape[1] < 5
    assert np.abs(found - expected).max() <= 1e-3 + 2 * step


@each_form
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 300), st.floats(0.1, 100))
def test_product_of_a_norm(
    form: str, level: str, seed: int, rows: int, quads: int, columns: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    integers, scales = quantised(normal(random, 4 * quads, columns))
    operator = Operator(
        f"NormLinear{form}",
        {"x": scaled(random, rows, 4 * quads, spread)},
        {
            "norm": normal(random, 4 * quads),
            "weight": in_blocks(integers),
            "scales": scales,
            **input_scale(form, 0.02),
        },
        epsilon=1e-6,
    )
    step = 63 * scales.max() * rounding_step(form, 0.02, 4 * 4 * np.sqrt(4 * quads))
    close(operator.by_kernel(level)[0], operator.by_definition()[0], step)


@each_form
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 300), st.floats(0.1, 100))
def test_product_added_to_a_row(
    form: str, level: str, seed: int, rows: int, quads: int, columns: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    integers, scales = quantised(normal(random, 4 * quads, columns))
    operator = Operator(
        f"AddLinear{form}",
        {
            "residual": normal(random, 1, rows, columns),
            "x": scaled(random, rows, 4 * quads, spread),
        },
        {
            "weight": in_blocks(integers),
            "scales": scales,
            **input_scale(form, 0.03),
        },
    )
    step = 63 * scales.max() * rounding_step(form, 0.03, np.abs(operator.inputs["x"]).max())
    close(operator.by_kernel(level)[0], operator.by_definition()[0], step)


@each_form
@each_level
@some
@given(seeds, st.integers(1, 20), st.integers(1, 40), st.integers(1, 9), st.floats(0.1, 10))
def test_gated_product(
    form: str, level: str, seed: int, rows: int, quads: int, blocks: int, spread: float
) -> None:
    random = np.random.default_rng(seed)
    matrices = [normal(random, 4 * quads, 16 * blocks) / np.float32(8) for _ in range(2)]
    pairs = [quantised(matrix) for matrix in matrices]
    scales = np.stack([scales for _, scales in pairs])
    operator = Operator(
        f"NormGatedLinear{form}",
        {"x": scaled(random, rows, 4 * quads, spread)},
        {
            "norm": normal(random, 4 * quads),
            "weight": np.stack([in_blocks(integers) for integers, _ in pairs], axis=1),
            "scales": scales,
            **input_scale(form, 0.02),
        },
        epsilon=1e-6,
    )
    found, expected = operator.by_kernel(level)[0], operator.by_definition()[0]
    step = 63 * scales.max() * rounding_step(form, 0.02, 4 * 4 * np.sqrt(4 * quads))
    close(found, expected, step * (1 + np.abs(expected).max()))


@each_form
@each_level
def test_rows_of_zeros_stay_zero(form: str, level: str) -> None:
    integers, scales = quantised(normal(np.random.default_rng(0), 16, 16))
    operator = Operator(
        f"AddLinear{form}",
        {"residual": np.ones((1, 2, 16), np.float32), "x": np.zeros((1, 2, 16), np.float32)},
        {"weight": in_blocks(integers), "scales": scales, **input_scale(form, 0.02)},
    )
    assert np.array_equal(operator.by_kernel(level)[0], operator.inputs["residual"])


@each_level
def test_rows_of_any_size_lose_equally_little(level: str) -> None:
    """Rows scaled by themselves are as exact at a thousandth of the size as at a thousand times."""
    random = np.random.default_rng(5)
    matrix = normal(random, 64, 48)
    integers, scales = quantised(matrix)
    row = normal(random, 1, 1, 64)
    x = np.concatenate([row * size for size in (1e-3, 1, 1e3)], axis=1)
    operator = Operator(
        "AddLinearByRow",
        {"residual": np.zeros((1, 3, 48), np.float32), "x": x},
        {"weight": in_blocks(integers), "scales": scales},
    )
    small, usual, large = operator.by_kernel(level)[0][0]
    np.testing.assert_allclose(small * 1e3, usual, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(large / 1e3, usual, rtol=1e-4, atol=1e-5)
    assert np.abs(usual - row[0, 0] @ matrix).max() < 0.05 * np.abs(row[0, 0] @ matrix).max()


@each_form
@each_level
@pytest.mark.parametrize(("inputs", "columns"), [(64, 200), (1100, 300)], ids=["one", "several"])
def test_a_row_does_not_depend_on_its_company(
    form: str, level: str, inputs: int, columns: int
) -> None:
    """To the bit, with weights of one task or of several: a batch must not change an answer."""
    random = np.random.default_rng(3)
    integers, scales = quantised(normal(random, inputs, columns))
    constants: Arrays = {
        "norm": normal(random, inputs),
        "weight": in_blocks(integers),
        "scales": scales,
        **input_scale(form, 0.02),
    }
    x = normal(random, 1, 13, inputs)
    operator = Operator(f"NormLinear{form}", {"x": x}, constants, epsilon=1e-6)
    together = operator.by_kernel(level)[0]
    step = 63 * scales.max() * rounding_step(form, 0.02, 16 * np.sqrt(inputs))
    close(together, operator.by_definition()[0], step)
    for row in range(13):
        alone = Operator(
            f"NormLinear{form}", {"x": x[:, [row]]}, constants, epsilon=1e-6
        ).by_kernel(level)[0]
        assert np.array_equal(alone[:, 0], together[:, row])


@each_level
def test_rows_of_another_width_are_refused(level: str) -> None:
    integers, scales = quantised(normal(np.random.default_rng(0), 64, 16))
    constants: Arrays = {
        "norm": np.ones(64, np.float32),
        "weight": in_blocks(integers),
        "scales": scales,
        "input_scale": np.array(0.02, np.float32),
    }
    operator = Operator(
        "NormLinear", {"x": np.ones((1, 1, 60), np.float32)}, constants, epsilon=1e-6
    )
    with pytest.raises(Exception, match="must be the weights' number of inputs"):
        operator.by_kernel(level)
