"""Call a decoder's graph for the first rows of arrays that stay where they are.

On a GPU a call can be captured as a CUDA graph: all of its kernels start at once instead of one by
one. A captured call repeats with the same shapes and addresses, so the number of rows is rounded up
to a power of two, of which each is captured once, and numbers by row have a copy on the device.

ONNX Runtime repeats a captured call by its id alone and ignores what is bound then, so no two
engines of a session may share an id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engine.device_arrays import zeros

Arrays = Mapping[str, npt.NDArray[Any]]
_GRAPH_IDS = count(1)  # of this process; 0 stands for calls without an id


class StepCalls:
    """Run `decoder` on host arrays of one line a row or a source, and on what `bind` binds of so
    many rows and sources.

    A call reads `inputs` and `source_inputs` and writes `outputs`, by the graph's names for them.
    It may have more sources than there are, and with `captured` more rows than are active; the
    `idle` inputs of these are 0.
    """

    def __init__(
        self,
        decoder: ort.InferenceSession,
        bind: Callable[[ort.IOBinding, int, int], None],
        *,
        inputs: Arrays,
        source_inputs: Arrays,
        outputs: Arrays,
        idle: Collection[str],
        device: str,
        captured: bool,
    ) -> None:
        self._decoder = decoder
        self._bind = bind
        self._inputs, self._source_inputs, self._outputs = inputs, source_inputs, outputs
        self._idle = idle
        self._device = device
        self._capacity = len(next(iter(inputs.values())))
        self._bindings: dict[tuple[int, int], ort.IOBinding] = {}
        self._options: dict[int, ort.RunOptions] = {}  # of captured calls
        arrays = {**inputs, **source_inputs, **outputs}
        self._copies = (
            {name: _Copy(array, device) for name, array in arrays.items()} if captured else None
        )

    def forget(self) -> None:
        """Bind anew from now on, because arrays have moved. Captured calls cannot follow."""
        if self._copies is not None:
            raise RuntimeError("the arrays of captured calls have moved: this is a bug")
        self._bindings.clear()

    def run(self, active: int, sources: int) -> None:
        """Call the graph for the first `active` rows, which read the first `sources`."""
        if self._copies is None:
            if sources != active:  # rounded, so that there are few bindings
                sources = rounded(sources, active)
            self._decoder.run_with_iobinding(self._binding(active, sources))
            return
        rows = rounded(active, self._capacity)
        for name in self._idle:
            self._inputs[name][active:rows] = 0
        for name in (*self._inputs, *self._source_inputs):
            self._copies[name].upload()
        if rows not in self._options:
            self._options[rows] = ort.RunOptions()
            self._options[rows].add_run_config_entry("gpu_graph_id", str(next(_GRAPH_IDS)))
        self._decoder.run_with_iobinding(self._binding(rows, rows), self._options[rows])
        for name in self._outputs:
            self._copies[name].download()

    def _binding(self, rows: int, sources: int) -> ort.IOBinding:
        if (rows, sources) in self._bindings:
            return self._bindings[rows, sources]
        binding = self._bindings[rows, sources] = self._decoder.io_binding()
        for arrays, lines, on_host, by_address in (
            (self._inputs, rows, binding.bind_ortvalue_input, binding.bind_input),
            (self._source_inputs, sources, binding.bind_ortvalue_input, binding.bind_input),
            (self._outputs, rows, binding.bind_ortvalue_output, binding.bind_output),
        ):
            for name, array in arrays.items():
                if self._copies is None:
                    shared = ort.OrtValue.ortvalue_from_numpy(array[:lines])  # shares memory
                    on_host(name, shared)
                else:
                    self._copies[name].bind(by_address, name, lines)
        self._bind(binding, rows, sources)
        return binding


def rounded(count: int, capacity: int) -> int:
    """Return the rows or sources of a call that has `count`: a power of two, or all there are."""
    return int(min(1 << (count - 1).bit_length(), capacity))


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
