"""Arrays of keys and values in the host's memory or in a GPU's.

Graphs are bound to addresses, so the same code serves both: a step reads and writes in place, and
only tokens and probabilities are copied from a GPU. The two differ in how rows are copied.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engine.cuda_runtime import Copier, Lines, cuda_runtime

ELEMENTS = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8,
}  # fmt: skip


def _zeros(shape: Sequence[int], element: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return zeros of which only the pages that are written take memory.

    NumPy asks for huge pages, so one token in a slot for 500 would take 2 MB of it.
    """
    pages = mmap.mmap(-1, max(1, math.prod(shape) * element.itemsize))
    return np.frombuffer(pages, element, math.prod(shape)).reshape(shape)


def zeros(shape: Sequence[int], element: npt.DTypeLike, device: str) -> ort.OrtValue:
    """Return zeros on `device`: fresh memory may hold NaN, which no mask hides."""
    if device == "cpu":
        return ort.OrtValue.ortvalue_from_numpy(_zeros(shape, np.dtype(element)))
    value = ort.OrtValue.ortvalue_from_shape_and_type(shape, element, device, 0)
    cuda_runtime().zero(value.data_ptr(), math.prod(shape) * np.dtype(element).itemsize)
    return value


class DeviceArray:
    """An array (parts, rows, heads, length, d_kv) of numbers on `device`, `cpu` or `cuda`.

    It keeps `value`, which owns the memory, alive. `copier` copies within the device's memory; by
    default CUDA's own on a GPU, and NumPy on a CPU.
    """

    def __init__(self, value: ort.OrtValue, device: str, copier: Copier | None = None) -> None:
        self.shape = tuple(value.shape())
        self._value = value
        self._device = device
        self._element = np.dtype(ELEMENTS[value.data_type()])
        self._address: int = value.data_ptr()
        self._copier = copier or (cuda_runtime() if device == "cuda" else None)

    @classmethod
    def zeros(
        cls,
        shape: Sequence[int],
        element: npt.DTypeLike,
        device: str,
        copier: Copier | None = None,
    ) -> DeviceArray:
        return cls(zeros(shape, element, device), device, copier)

    def bind(self, binder: Callable[..., None], name: str, part: int, rows: int) -> None:
        """Bind the first `rows` of `part` by an `IOBinding`'s `bind_input` or `bind_output`."""
        shape = [rows, *self.shape[2:]]
        binder(name, self._device, 0, self._element, shape, self._line(part, 0))

    def copy(
        self,
        row: int,
        source: DeviceArray,
        source_row: int,
        length: int,
        *,
        begin: int = 0,
        to: int = 0,
    ) -> None:
        """Copy `length` columns of all parts and heads, from `begin` of a row of `source`, to the
        column `to` on.

        On a GPU the copy is complete after `finish_copies`; until then `source` must exist.
        """
        if self._copier is None:
            columns = source._on_host[:, source_row, :, begin : begin + length]
            self._on_host[:, row, :, to : to + length] = columns
            return
        width = length * self._element.itemsize * self.shape[4]
        parts, _, heads, *_ = self.shape
        self._copier.copy(
            self._lines(row, to), source._lines(source_row, begin),
            width=width, lines=heads, parts=parts,
        )  # fmt: skip

    def finish_copies(self) -> None:
        """Return when the copies to and from all arrays are complete.

        To be called before ONNX Runtime reads them, whose stream does not wait for the copies'.
        """
        if self._copier is not None:
            self._copier.wait()

    def _lines(self, row: int, column: int) -> Lines:
        """Return where a row's heads are, from `column` on."""
        _, rows, heads, columns, width = self.shape
        size = self._element.itemsize * width  # bytes of a column
        return Lines(self._line(0, row) + column * size, columns * size, rows * heads)

    def _line(self, part: int, row: int) -> int:
        """Return the address of the first head of a row."""
        _, rows, *line = self.shape
        address: int = (
            self._address + (part * rows + row) * math.prod(line) * self._element.itemsize
        )
        return address

    @cached_property
    def _on_host(self) -> npt.NDArray[np.floating[Any]]:
        size = math.prod(self.shape) * self._element.itemsize
        memory = memoryview((ctypes.c_char * size).from_address(self._address)).cast("B")
        return np.frombuffer(memory, self._element).reshape(self.shape)
