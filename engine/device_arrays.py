"""Arrays of keys and values in the host's memory or in a GPU's.

Graphs are bound to addresses, so the same code serves both: a step reads and writes in place, and
only tokens and probabilities are copied from a GPU. The two differ in how rows are copied.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

ELEMENTS = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(int8)": np.int8,
}  # fmt: skip


class Copier(Protocol):
    """Copy within a GPU's memory."""

    def copy(
        self, to: int, to_pitch: int, of: int, of_pitch: int, *, width: int, lines: int
    ) -> None:
        """Copy `lines` of `width` bytes from address `of` to `to`; lines start a pitch apart."""
        ...

    def wait(self) -> None:
        """Return when all copies are complete."""
        ...


def _zeros(shape: Sequence[int], element: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return zeros of which only the pages that are written take memory.

    NumPy asks for huge pages, so one token in a slot for 500 would take 2 MB of it.
    """
    pages = mmap.mmap(-1, max(1, math.prod(shape) * element.itemsize))
    return np.frombuffer(pages, element, math.prod(shape)).reshape(shape)


def zeros(shape: Sequence[int], element: npt.DTypeLike, device: str) -> ort.OrtValue:
    """Return zeros on `device`: fresh memory may hold NaN, which no mask hides."""
    on_host = _zeros(shape, np.dtype(element))
    if device == "cpu":
        return ort.OrtValue.ortvalue_from_numpy(on_host)
    value = ort.OrtValue.ortvalue_from_shape_and_type(shape, element, device, 0)
    value.update_inplace(on_host)
    return value


class DeviceArray:
    """An array (parts, rows, heads, length, d_kv) of numbers on `device`, `cpu` or `cuda`.

    It keeps `value`, which owns the memory, alive. `copier` copies on a GPU; by default CUDA's own.
    """

    def __init__(self, value: ort.OrtValue, device: str, copier: Copier | None = None) -> None:
        self.shape = tuple(value.shape())
        self._value = value
        self._device = device
        self._element = np.dtype(ELEMENTS[value.data_type()])
        self._address: int = value.data_ptr()
        self._copier = (copier or _cuda()) if device == "cuda" else None

    @classmethod
    def zeros(cls, shape: Sequence[int], element: npt.DTypeLike, device: str) -> DeviceArray:
        return cls(zeros(shape, element, device), device)

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
        """
        if self._copier is None:
            columns = source._on_host[:, source_row, :, begin : begin + length]
            self._on_host[:, row, :, to : to + length] = columns
            return
        size = self._element.itemsize * self.shape[4]  # bytes of a column
        pitch, source_pitch = self.shape[3] * size, source.shape[3] * size
        for part in range(self.shape[0]):
            address = self._line(part, row) + to * size
            of = source._line(part, source_row) + begin * size
            self._copier.copy(
                address, pitch, of, source_pitch, width=length * size, lines=self.shape[2]
            )
        self._copier.wait()  # ONNX Runtime's stream does not wait for the copies'

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


_CUDART = ("libcudart.so.13", "libcudart.so.12")
_DEVICE_TO_DEVICE = 3  # of cudaMemcpyKind
_SIZE, _POINTER = ctypes.c_size_t, ctypes.c_void_p


class _Cuda:
    """Implement `Copier` with the CUDA runtime that ONNX Runtime has loaded."""

    def __init__(self, runtime: ctypes.CDLL) -> None:
        self._copy, self._wait = runtime.cudaMemcpy2D, runtime.cudaStreamSynchronize
        self._copy.argtypes = [_POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _SIZE, ctypes.c_int]
        self._wait.argtypes = [_POINTER]

    def copy(
        self, to: int, to_pitch: int, of: int, of_pitch: int, *, width: int, lines: int
    ) -> None:
        _check(self._copy(to, to_pitch, of, of_pitch, width, lines, _DEVICE_TO_DEVICE))

    def wait(self) -> None:
        _check(self._wait(None))


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"CUDA runtime: error {code} while copying between rows")


def _cuda() -> Copier:
    return _Cuda(cuda_runtime())


@cache
def cuda_runtime() -> ctypes.CDLL:
    """Return the CUDA runtime that ONNX Runtime has loaded. Raises `RuntimeError` without one."""
    for library in _CUDART:
        try:
            return ctypes.CDLL(library)
        except OSError:
            continue
    raise RuntimeError(f"no CUDA runtime: expected one of {', '.join(_CUDART)}")
