"""The calls of the CUDA runtime that ONNX Runtime does not offer: copies within a GPU's memory.

They go to the library that ONNX Runtime has loaded, on the default stream, for which its own does
not wait. https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__MEMORY.html
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

_LIBRARIES = ("libcudart.so.13", "libcudart.so.12")
_DEVICE_TO_DEVICE = 3  # of cudaMemcpyKind
_SIZE, _POINTER = ctypes.c_size_t, ctypes.c_void_p


@dataclass(frozen=True)
class Lines:
    """Lines of several parts of a GPU's memory.

    `address` is the first one's, `pitch` the bytes from one line to the next, and `part` the lines
    from the first of a part to that of the next.
    """

    address: int
    pitch: int
    part: int


class Copier(Protocol):
    """Copy within a GPU's memory."""

    def copy(self, to: Lines, of: Lines, *, width: int, lines: int, parts: int) -> None:
        """Copy `lines` of `width` bytes of each of the `parts`. Does not wait for the copy."""
        ...

    def wait(self) -> None:
        """Return when all copies are complete."""
        ...


class _Pitched(ctypes.Structure):
    """cudaPitchedPtr: slices of `ysize` lines follow each other."""

    _fields_ = [("ptr", _POINTER), ("pitch", _SIZE), ("xsize", _SIZE), ("ysize", _SIZE)]


class _Copy3D(ctypes.Structure):
    """cudaMemcpy3DParms of driver_types.h."""

    _fields_ = [
        ("srcArray", _POINTER), ("srcPos", _SIZE * 3), ("srcPtr", _Pitched),
        ("dstArray", _POINTER), ("dstPos", _SIZE * 3), ("dstPtr", _Pitched),
        ("extent", _SIZE * 3), ("kind", ctypes.c_int),
    ]  # fmt: skip


class CudaRuntime:
    """Implement `Copier` with the CUDA runtime `library`."""

    def __init__(self, library: Any) -> None:
        self._copy, self._set = library.cudaMemcpy3D, library.cudaMemset
        self._wait, self._free_bytes = library.cudaStreamSynchronize, library.cudaMemGetInfo
        self._copy.argtypes = [ctypes.POINTER(_Copy3D)]
        self._set.argtypes = [_POINTER, ctypes.c_int, _SIZE]
        self._wait.argtypes = [_POINTER]
        self._free_bytes.argtypes = [ctypes.POINTER(_SIZE)] * 2

    def copy(self, to: Lines, of: Lines, *, width: int, lines: int, parts: int) -> None:
        # One call for all parts: a row of FLAN-T5-large has 48, and a call takes microseconds.
        call = _Copy3D(
            srcPtr=_Pitched(of.address, of.pitch, width, of.part),
            dstPtr=_Pitched(to.address, to.pitch, width, to.part),
            extent=(width, lines, parts),
            kind=_DEVICE_TO_DEVICE,
        )
        _check(self._copy(ctypes.byref(call)), "copying between rows")

    def zero(self, address: int, size: int) -> None:
        """Fill `size` bytes with zeros."""
        _check(self._set(address, 0, size), "filling memory with zeros")
        self.wait()

    def wait(self) -> None:
        _check(self._wait(None), "waiting for the GPU")

    def free_memory(self) -> int:
        """Return the free bytes of the current GPU, as the driver counts them."""
        free, total = _SIZE(), _SIZE()
        code = self._free_bytes(ctypes.byref(free), ctypes.byref(total))
        _check(code, "asking for the free memory")
        return int(free.value)


def _check(code: int, doing: str) -> None:
    if code:
        raise RuntimeError(f"CUDA runtime: error {code} while {doing}")


@cache
def cuda_runtime() -> CudaRuntime:
    """Return the CUDA runtime that ONNX Runtime has loaded. Raises `RuntimeError` without one."""
    for name in _LIBRARIES:
        try:
            return CudaRuntime(ctypes.CDLL(name))
        except OSError:
            continue
    raise RuntimeError(f"no CUDA runtime: expected one of {', '.join(_LIBRARIES)}")
