"""KVSlots copied within a block and between blocks, on the host and as on a GPU."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from engine.cuda_runtime import CudaRuntime, Lines, _Copy3D
from engine.device_arrays import DeviceArray


class HostCopier:
    """Copy as a GPU does, but on the host: by address, line by line."""

    def __init__(self) -> None:
        self.copies = self.waits = 0

    def copy(self, to: Lines, of: Lines, *, width: int, lines: int, parts: int) -> None:
        self.copies += 1
        for part in range(parts):
            for line in range(lines):
                target = to.address + (part * to.part + line) * to.pitch
                source = of.address + (part * of.part + line) * of.pitch
                ctypes.memmove(target, source, width)

    def wait(self) -> None:
        self.waits += 1


def block(array: npt.NDArray[np.floating], copier: HostCopier | None) -> DeviceArray:
    value = ort.OrtValue.ortvalue_from_numpy(array)
    return DeviceArray(value, "cuda" if copier else "cpu", copier)


@pytest.mark.parametrize("element", [np.float32, np.float16])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_columns_are_copied_from_a_longer_block(device: str, element: type[np.floating]) -> None:
    copier = HostCopier() if device == "cuda" else None
    source = np.arange(2 * 3 * 2 * 7 * 4).reshape(2, 3, 2, 7, 4).astype(element)
    target = np.zeros((2, 5, 2, 6, 4), element)
    to = block(target, copier)
    to.copy(4, block(source, copier), 1, 5, begin=2)
    assert copier is None or (copier.copies, copier.waits) == (1, 0)
    to.finish_copies()
    expected = np.zeros_like(target)
    expected[:, 4, :, :5] = source[:, 1, :, 2:]
    assert np.array_equal(target, expected)
    assert copier is None or (copier.copies, copier.waits) == (1, 1)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_bound_is_the_first_rows_of_a_part(device: str) -> None:
    """An `IOBinding` is told an address; there must lie those rows."""
    array = np.random.default_rng(0).random((3, 4, 2, 5, 6), np.float32)
    bound: list[object] = []
    copier = HostCopier() if device == "cuda" else None
    block(array, copier).bind(lambda *what: bound.extend(what), "key.1", 2, 3)
    *said, shape, address = bound
    assert said == ["key.1", device, 0, np.dtype(np.float32)]
    assert (shape, address) == ([3, 2, 5, 6], array[2].ctypes.data)


class FakeLibrary:
    """The CUDA runtime's functions, on the host's memory; `code` is what the next ones return."""

    def __init__(self) -> None:
        self.code = 0
        self.calls: list[str] = []
        self.cudaMemcpy3D = self._function("copy", self._copy)
        self.cudaMemset = self._function("set", ctypes.memset)
        self.cudaStreamSynchronize = self._function("wait", lambda stream: None)
        self.cudaMemGetInfo = self._function("info", self._info)

    def _function(self, name: str, effect: Callable[..., object]) -> Callable[..., int]:
        def function(*arguments: object) -> int:
            self.calls.append(name)
            if not self.code:
                effect(*arguments)
            return self.code

        return function

    def _copy(self, reference: Any) -> None:
        """Copy as CUDA documents it: slices are `pitch * ysize` bytes apart."""
        call = reference._obj
        to, of, (width, height, depth) = call.dstPtr, call.srcPtr, call.extent
        assert (call.kind, call.srcArray, call.dstArray) == (3, None, None)
        assert [*call.srcPos, *call.dstPos] == [0] * 6
        for z in range(depth):
            for y in range(height):
                target = to.ptr + (z * to.ysize + y) * to.pitch
                ctypes.memmove(target, of.ptr + (z * of.ysize + y) * of.pitch, width)

    def _info(self, free: Any, total: Any) -> None:
        free._obj.value, total._obj.value = 5_000, 8_000


def test_a_row_is_copied_by_one_call_of_the_cuda_runtime() -> None:
    library = FakeLibrary()
    runtime = CudaRuntime(library)
    source = np.arange(3 * 4 * 2 * 7 * 2, dtype=np.float32).reshape(3, 4, 2, 7, 2)
    target = np.zeros((3, 5, 2, 9, 2), np.float32)
    to, of = (
        DeviceArray(ort.OrtValue.ortvalue_from_numpy(array), "cuda", runtime)
        for array in (target, source)
    )
    to.copy(4, of, 1, 5, begin=2, to=3)
    to.finish_copies()
    expected = np.zeros_like(target)
    expected[:, 4, :, 3:8] = source[:, 1, :, 2:]
    assert np.array_equal(target, expected)
    assert library.calls == ["copy", "wait"]


def test_memory_is_filled_with_zeros_and_counted() -> None:
    library = FakeLibrary()
    array = np.ones(10, np.float16)
    CudaRuntime(library).zero(array.ctypes.data, 16)
    assert array.tolist() == [0.0] * 8 + [1.0] * 2
    assert library.calls == ["set", "wait"]
    assert CudaRuntime(library).free_memory() == 5_000


def test_an_error_of_the_cuda_runtime_says_what_failed() -> None:
    library = FakeLibrary()
    library.code = 2
    runtime = CudaRuntime(library)
    lines = Lines(0, 8, 1)
    for call, doing in (
        (lambda: runtime.copy(lines, lines, width=8, lines=1, parts=1), "copying between rows"),
        (lambda: runtime.zero(0, 8), "filling memory with zeros"),
        (runtime.wait, "waiting for the GPU"),
        (runtime.free_memory, "asking for the free memory"),
    ):
        with pytest.raises(RuntimeError, match=f"CUDA runtime: error 2 while {doing}"):
            call()


def test_the_structure_of_a_copy_is_that_of_cudas_header() -> None:
    """`offsetof` of each member of cudaMemcpy3DParms, by CUDA 13.0's driver_types.h and GCC."""
    fields = [field[0] for field in _Copy3D._fields_]
    offsets = [getattr(_Copy3D, name).offset for name in fields]
    assert offsets == [0, 8, 32, 64, 72, 96, 128, 152]
    assert ctypes.sizeof(_Copy3D) == 160
