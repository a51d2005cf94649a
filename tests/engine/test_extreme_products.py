"""Sums of products are exact at every level, whatever the weights and the inputs.

Levels without VNNI add up four products in 16 bits where the weights allow it
(`engine/kernels/pairing.c`). With inputs of whole numbers and scales of 1 an output is the sum
itself, which NumPy adds up in 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_export.quantisation import in_blocks
from tests.engine.kernel_harness.operator import Operator, each_level, seeds, some

MOST = 63  # the magnitude of a weight
Weights = Callable[[np.random.Generator, int, int], np.ndarray]


def alike(random: np.random.Generator, inputs: int, columns: int) -> np.ndarray:
    """Use the largest of one sign: no two quads can be added."""
    return np.full((inputs, columns), random.choice((-MOST, MOST)))


def alternating(random: np.random.Generator, inputs: int, columns: int) -> np.ndarray:
    """Use quads of the largest weights and of zeros by turns: neighbours fit, others do not."""
    quads = np.arange(inputs) // 4 + random.integers(2)
    return np.repeat((MOST * (quads % 2))[:, None], columns, axis=1)


def halves(random: np.random.Generator, inputs: int, columns: int) -> np.ndarray:
    """Give one half weights that fit no quad of their half, and the other small ones."""
    large = (np.arange(inputs) < inputs // 2)[:, None]
    sign = random.choice((-1, 1), (1, columns))
    return np.where(large, sign * random.integers(60, MOST + 1, (inputs, columns)), sign)


def uniform(random: np.random.Generator, inputs: int, columns: int) -> np.ndarray:
    return random.integers(-MOST, MOST + 1, (inputs, columns))


def on_the_edge(random: np.random.Generator, inputs: int, columns: int) -> np.ndarray:
    """Have four weights of a word add up to 128, the most that fits, and once to 129."""
    weights = np.full((inputs, columns), 32 * random.choice((-1, 1)))
    weights[random.integers(inputs)] += np.sign(weights[0, 0])
    return weights


def rows_of_extremes(random: np.random.Generator, rows: int, inputs: int) -> np.ndarray:
    """Draw inputs from -128 to 127; one row has the largest alone, one the least."""
    x = random.integers(-128, 128, (rows, inputs))
    x[0], x[rows // 2] = 127, -128
    return x


@each_level
@pytest.mark.parametrize("weights", [alike, alternating, halves, uniform, on_the_edge])
@some
@given(seeds, st.integers(1, 14), st.integers(1, 70), st.integers(1, 70))
def test_sums_are_exact(
    level: str, weights: Weights, seed: int, rows: int, quads: int, columns: int
) -> None:
    random = np.random.default_rng(seed)
    integers = weights(random, 4 * quads, columns)
    x = rows_of_extremes(random, rows, 4 * quads)
    operator = Operator(
        "AddLinear",
        {"residual": np.zeros((rows, columns), np.float32), "x": x.astype(np.float32)},
        {
            "weight": in_blocks(integers.astype(np.int8)),
            "scales": np.ones(columns, np.float32),
            "input_scale": np.array(1, np.float32),
        },
    )
    (found,) = operator.by_kernel(level)
    assert np.array_equal(found, (x @ integers).astype(np.float32))
