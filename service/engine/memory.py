"""Where the rows' keys and values lie: in this machine's memory, or in a GPU's.

Graphs are bound to addresses, so that both kinds go through the same code: a step reads and writes
in place, and nothing but tokens and probabilities crosses from a GPU. What differs is how a block
is copied from row to row.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

ELEMENTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_CUDART = ("libcudart.so.13", "libcudart.so.12")
_DEVICE_TO_DEVICE = 3  # of cudaMemcpyKind


class Block:
    """An array (parts, rows, heads, length, d_kv) of floats on `device`, `cpu` or `cuda`.

    It keeps `value` alive, whose memory it is.
    """

    def __init__(self, value: ort.OrtValue, device: str) -> None:
        self.shape = tuple(value.shape())
        self._value = value
        self._device = device
        self._element = np.dtype(ELEMENTS[value.data_type()])
        self._address = value.data_ptr()
        self._host = _view(self._address, self.shape, self._element) if device == "cpu" else None

    @classmethod
    def zeros(cls, shape: Sequence[int], element: npt.DTypeLike, device: str) -> Block:
        if device == "cpu":
            return cls(ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, element)), device)
        block = cls(ort.OrtValue.ortvalue_from_shape_and_type(shape, element, device, 0), device)
        # Memory that was never written may hold NaN, which no mask hides.
        block._value.update_inplace(np.zeros(shape, element))
        return block

    def bind(self, binder: Callable[..., None], name: str, part: int, rows: int) -> None:
        """Bind the first `rows` of `part` by an `IOBinding`'s `bind_input` or `bind_output`."""
        stride = int(np.prod(self.shape[1:])) * self._element.itemsize
        shape = [rows, *self.shape[2:]]
        binder(name, self._device, 0, self._element, shape, self._address + part * stride)

    def copy(self, row: int, source: Block, source_row: int, length: int) -> None:
        """Of all parts and heads, the first `length` columns of a row of `source`."""
        if self._host is not None:
            assert source._host is not None
            self._host[:, row, :, :length] = source._host[:, source_row, :, :length]
            return
        for part in range(self.shape[0]):
            self._copy_on_gpu(part, row, source, source_row, length)
        _cuda("cudaStreamSynchronize")(None)  # ONNX Runtime's own stream does not wait for this one

    def _copy_on_gpu(
        self, part: int, row: int, source: Block, source_row: int, length: int
    ) -> None:
        """One line for each head, in a pitch of its own on either side."""
        size = self._element.itemsize * self.shape[-1]
        copy = partial(_cuda("cudaMemcpy2D"), self._line(part, row), self.shape[3] * size)
        copy(
            source._line(part, source_row),
            source.shape[3] * size,
            length * size,
            self.shape[2],
            _DEVICE_TO_DEVICE,
        )

    def _line(self, part: int, row: int) -> int:
        """The address of the first head of a row."""
        _, rows, heads, length, d_kv = self.shape
        address: int = (
            self._address + (part * rows + row) * heads * length * d_kv * self._element.itemsize
        )
        return address


def _view(
    address: int, shape: tuple[int, ...], element: np.dtype[Any]
) -> npt.NDArray[np.floating[Any]]:
    size = int(np.prod(shape)) * element.itemsize
    memory = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
    return np.frombuffer(memory, element).reshape(shape)


@cache
def _cuda(name: str) -> Callable[..., None]:
    """A function of the CUDA runtime that ONNX Runtime has loaded; raises `RuntimeError`."""
    function = getattr(_cudart(), name)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    arguments = {
        "cudaMemcpy2D": [pointer, size, pointer, size, size, size, ctypes.c_int],
        "cudaStreamSynchronize": [pointer],
    }
    function.argtypes = arguments[name]

    def call(*values: int | None) -> None:
        if code := function(*values):
            raise RuntimeError(f"{name}: CUDA error {code}")

    return call


@cache
def _cudart() -> ctypes.CDLL:
    for library in _CUDART:
        try:
            return ctypes.CDLL(library)
        except OSError:
            continue
    raise RuntimeError(f"no CUDA runtime: expected one of {', '.join(_CUDART)}")
