"""Call a decoder's graph for the first rows of arrays that stay where they are.

On a GPU a call can be captured as a CUDA graph: all of its kernels start at once instead of one by
one. A captured call repeats with the same shapes and addresses, so the number of rows is rounded up
to a power of two, of which each is captured once, and numbers by row have a copy on the device.

ONNX Runtime repeats a captured call by its id alone and ignores what is bound then, so no two
engines of a session may share an id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engine.device_arrays import zeros

Arrays = Mapping[str, npt.NDArray[Any]]
_GRAPH_IDS = count(1)  # of this process; 0 stands for calls without an id


class StepCalls:
    """Run `decoder` on host arrays of one line a row, and on what `bind` binds of so many rows.

    A call reads `inputs` and writes `outputs`, by the graph's names for them. With `captured` a
    call may have more rows than are active; what these read is `idle`, valid numbers for any row.
    """

    def __init__(
        self,
        decoder: ort.InferenceSession,
        bind: Callable[[ort.IOBinding, int], None],
        *,
        inputs: Arrays,
        outputs: Arrays,
        idle: Mapping[str, int],
        device: str,
        captured: bool,
    ) -> None:
        self._decoder = decoder
        self._bind = bind
        self._inputs, self._outputs, self._idle = inputs, outputs, idle
        self._device = device
        self._capacity = len(next(iter(inputs.values())))
        self._bindings: dict[int, ort.IOBinding] = {}
        self._options: dict[int, ort.RunOptions] = {}  # of captured calls
        self._copies = (
            {name: _Copy(array, device) for name, array in {**inputs, **outputs}.items()}
            if captured
            else None
        )

    def forget(self) -> None:
        """Bind anew from now on, because arrays have moved. Captured calls cannot follow."""
        if self._copies is not None:
            raise RuntimeError("the arrays of captured calls have moved: this is a bug")
        self._bindings.clear()

    def run(self, active: int) -> None:
        """Call the graph for the first `active` rows."""
        if self._copies is None:
            self._decoder.run_with_iobinding(self._binding(active))
            return
        rows = rounded_rows(active, self._capacity)
        for name, number in self._idle.items():
            self._inputs[name][active:rows] = number
        for name in self._inputs:
            self._copies[name].upload()
        if rows not in self._options:
            self._options[rows] = ort.RunOptions()
            self._options[rows].add_run_config_entry("gpu_graph_id", str(next(_GRAPH_IDS)))
        self._decoder.run_with_iobinding(self._binding(rows), self._options[rows])
        for name in self._outputs:
            self._copies[name].download()

    def _binding(self, rows: int) -> ort.IOBinding:
        if rows in self._bindings:
            return self._bindings[rows]
        binding = self._bindings[rows] = self._decoder.io_binding()
        for arrays, on_host, by_address in (
            (self._inputs, binding.bind_ortvalue_input, binding.bind_input),
            (self._outputs, binding.bind_ortvalue_output, binding.bind_output),
        ):
            for name, array in arrays.items():
                if self._copies is None:
                    on_host(name, ort.OrtValue.ortvalue_from_numpy(array[:rows]))  # shares memory
                else:
                    self._copies[name].bind(by_address, name, rows)
        self._bind(binding, rows)
        return binding


def rounded_rows(active: int, capacity: int) -> int:
    """Return the rows of a captured call for `active` ones: a power of two, or all there are."""
    return int(min(1 << (active - 1).bit_length(), capacity))


class _Copy:
    """The memory on `device`, at a fixed address, of an array on the host; on a CPU they share."""

    def __init__(self, array: npt.NDArray[Any], device: str) -> None:
        self._array = array
        self._device = device
        self._value = (
            ort.OrtValue.ortvalue_from_numpy(array)
            if device == "cpu"
            else zeros(array.shape, array.dtype, device)
        )

    def bind(self, binder: Callable[..., None], name: str, rows: int) -> None:
        shape = [rows, *self._array.shape[1:]]
        binder(name, self._device, 0, self._array.dtype, shape, self._value.data_ptr())

    def upload(self) -> None:
        if self._device != "cpu":
            self._value.update_inplace(self._array)

    def download(self) -> None:
        if self._device != "cpu":
            np.copyto(self._array, self._value.numpy())
