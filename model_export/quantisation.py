"""Quantise matrix products to 8-bit integers.

Weights have one scale for each column. The inputs of a product either have one scale, fixed at
export (the largest value seen on calibration prompts), or each row has its own, of its largest
value. Both keep an answer independent of the batch.
Weights use seven bits, because the 16-bit products of processors without VNNI would saturate.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

InputRanges = Mapping[str, float]  # of each linear layer's name: the largest magnitude of its input
BY_ROW: InputRanges = {}  # no ranges: each row is scaled by its own largest input when it comes
_MOST_WEIGHT = 63
_MOST_INPUT = 127
_COLUMNS, _INPUTS = 16, 4  # of a block of weights: what one instruction of VNNI takes


def input_scale(largest: float) -> float:
    return largest / _MOST_INPUT


def quantised(
    matrix: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return integers and column scales such that `integers * scales` approximates `matrix`."""
    scales = np.maximum(np.abs(matrix).max(axis=0), 1e-12) / _MOST_WEIGHT
    return np.round(matrix / scales).astype(np.int8), scales.astype(np.float32)


def in_blocks(integers: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Reorder (inputs, columns) to (blocks, inputs / 4, 16, 4), padded with columns of zeros.

    Raises `ValueError` if `inputs` is not a multiple of four; every T5's is.
    """
    inputs, columns = integers.shape
    if inputs % _INPUTS:
        raise ValueError(f"{inputs} inputs of a linear layer; expected a multiple of {_INPUTS}")
    padded = np.pad(integers, ((0, 0), (0, -columns % _COLUMNS)))
    quads = padded.reshape(inputs // _INPUTS, _INPUTS, -1, _COLUMNS)
    return np.ascontiguousarray(quads.transpose(2, 0, 3, 1))
