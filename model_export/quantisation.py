"""Quantise matrix products to 8-bit integers.

Weights have one scale for each column. The inputs of a product have one scale, fixed at export: the
largest value seen on calibration prompts. Fixed scales keep an answer independent of the batch.
Weights use seven bits, because the 16-bit products of processors without VNNI would saturate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn
from transformers import T5ForConditionalGeneration

from engine.contracts import Tokens
from model_export.parity import torch_tokens

InputRanges = Mapping[str, float]  # of each linear layer's name: the largest magnitude of its input
_MOST_WEIGHT = 63
_MOST_INPUT = 127
_COLUMNS, _INPUTS = 16, 4  # of a block of weights: what one instruction of VNNI takes


def input_ranges(model: T5ForConditionalGeneration, sources: Sequence[Tokens]) -> InputRanges:
    """Return the largest input magnitude of each linear layer while `model` answers `sources`."""
    ranges: dict[str, float] = {}
    with _watched(model, ranges):
        torch_tokens(model, sources)
    if model.config.scale_decoder_outputs:  # the graph scales the head instead
        ranges["lm_head"] *= model.config.d_model**0.5
    return ranges


@contextmanager
def _watched(model: T5ForConditionalGeneration, ranges: dict[str, float]) -> Iterator[None]:
    def watch(name: str) -> Any:
        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            ranges[name] = max(ranges.get(name, 0.0), float(inputs[0].abs().max()))

        return note

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


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
