"""The memory of a GPU: the rows that it holds, and the errors that say that it is full.

Sizes are computed from the shape of the model and the longest source and answer that it takes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import onnxruntime as ort

from engine.bundle import Architecture, Limits
from engine.contracts import OutOfMemory
from engine.cuda_runtime import cuda_runtime
from engine.device_arrays import ELEMENTS

_LOG = logging.getLogger(__name__)
_MARGIN = 0.1  # of the free memory: for fragments, and for the libraries' own workspaces
_FLOAT = 4  # bytes
_LOGITS = 4  # copies of them: in fp16 and fp32, and two that steps of ONNX Runtime may need
# ONNX Runtime's arena, the CUDA runtime, ours included, and cuBLAS: each in its own words.
_FULL = re.compile(
    r"Failed to allocate memory for requested buffer"
    r"|CUDA failure 2\b|CUDA runtime: error 2\b|CUBLAS_STATUS_ALLOC_FAILED|\bout of memory\b"
)

Method = TypeVar("Method", bound=Callable[..., Any])


def told_out_of_memory(method: Method) -> Method:
    """Let a method raise `OutOfMemory` for an error by which a library says that memory is full."""

    @wraps(method)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return method(*arguments, **named)
        except OutOfMemory:
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or _FULL.search(str(error)):
                raise OutOfMemory(str(error)) from error
            raise

    return wrapped  # type: ignore[return-value]


def free_memory() -> int:
    """Return the free bytes of the current GPU, as the driver counts them."""
    return cuda_runtime().free_memory()


def row_bytes(shape: Architecture, limits: Limits, decoder: ort.InferenceSession) -> int:
    """Return the most bytes that a row takes: keys and values of a source and an answer of the
    greatest lengths, and the logits.

    Slots move where a longer one needs room, and both exist for a moment: twice those of a source,
    and one and a half times those of an answer, which double.
    """
    kinds = {value.name: value.type for value in decoder.get_inputs()}
    element = np.dtype(ELEMENTS[kinds["key.0"]]).itemsize
    token = 2 * shape.decoder_layers * shape.heads * shape.d_kv * element
    columns = 2 * limits.max_source_tokens + 1.5 * limits.max_new_tokens
    widths = [value.shape[2] for value in decoder.get_outputs() if value.name == "logits"]
    return int(columns * token + _LOGITS * _FLOAT * sum(widths))


def rows_that_fit(row: int, free: int, wanted: int) -> int:
    """Return how many of the `wanted` rows, of `row` bytes each, `free` bytes hold.

    Raises `OutOfMemory` where not one row fits.
    """
    rows = int(free * (1 - _MARGIN) // row)
    if rows < 1:
        raise OutOfMemory(
            f"{free / 1e6:.0f} MB are free on the GPU; expected {row / (1 - _MARGIN) / 1e6:.0f} MB "
            "for one row of this model"
        )
    if rows < wanted:
        _LOG.warning(
            "the GPU's memory holds %d rows of the %d asked for: %.0f MB are free, %.1f MB a row",
            rows, wanted, free / 1e6, row / 1e6,
        )  # fmt: skip
    return min(rows, wanted)
