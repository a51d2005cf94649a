"""KVSlots copied within a block and between blocks, on the host and as on a GPU."""

import ctypes

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from engine.device_arrays import DeviceArray


class HostCopier:
    """What a GPU does, done on the host: by address, line by line."""

    def __init__(self) -> None:
        self.waits = 0

    def copy(
        self, to: int, to_pitch: int, of: int, of_pitch: int, *, width: int, lines: int
    ) -> None:
        for line in range(lines):
            ctypes.memmove(to + line * to_pitch, of + line * of_pitch, width)

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
    block(target, copier).copy(4, block(source, copier), 1, 5, begin=2)
    expected = np.zeros_like(target)
    expected[:, 4, :, :5] = source[:, 1, :, 2:]
    assert np.array_equal(target, expected)
    assert copier is None or copier.waits == 1


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
