"""Keep what prompts have read: the encoder's keys and values, which every step attends to.

All rows of a prompt read one copy, where the decoder's graph takes an index from rows to sources.
In other graphs, those of earlier formats and of half precision, each row has a copy of its own,
in the slot of the row's number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort

from engine.bundle import Architecture
from engine.cuda_runtime import Copier
from engine.device_arrays import ELEMENTS, DeviceArray
from engine.slots import Slots

SOURCES = "sources"  # the decoder's input that is the index
_LENGTH_STEP = 16  # tokens: slots grow by multiples of this
_WHOLE, _SCALES = "", "_scales"  # endings of the names of what cross-attention reads


class Sources:
    """Sources of at most `capacity` rows on `device`, with room for `longest` tokens at first."""

    def __init__(
        self,
        shape: Architecture,
        decoder: ort.InferenceSession,
        *,
        capacity: int,
        longest: int,
        device: str,
        copier: Copier | None = None,
    ) -> None:
        kinds = {value.name: value.type for value in decoder.get_inputs()}
        self.are_shared = SOURCES in kinds
        self.lengths = np.ones(capacity, np.int32)  # of a free slot 1, which any graph takes
        self.of_rows = np.zeros(capacity, np.int32)
        self._readers = [0] * capacity  # rows that read each source
        self._slots = Slots()
        self._lines = (2 * shape.decoder_layers, capacity, shape.heads)
        self._device = device
        self._copier = copier
        # Keys and values, and scales where these are integers.
        self._parts = [(_WHOLE, shape.d_kv, ELEMENTS[kinds["cross_key.0"]])]
        if f"cross_key{_SCALES}.0" in kinds:
            self._parts.append((_SCALES, 1, np.float32))
        self._blocks = self._blocks_of(_rounded_length(longest))

    def _blocks_of(self, length: int) -> list[DeviceArray]:
        return [
            DeviceArray.zeros((*self._lines, length, width), element, self._device, self._copier)
            for _, width, element in self._parts
        ]

    @property
    def outputs(self) -> list[str]:
        """The outputs of the encoder that `add` copies from, in their order."""
        return [f"cross{suffix}" for suffix, _, _ in self._parts]

    @property
    def count(self) -> int:
        return self._slots.end

    @property
    def room(self) -> int:
        """The most tokens of a source that have room now."""
        return int(self._blocks[0].shape[3])

    def add(self, row: int, cross: Sequence[DeviceArray], begin: int, end: int) -> None:
        """Copy a source for `row`: the tokens from `begin` to `end` of `cross`, the encoder's
        `outputs` (each 2 * layers, 1, heads, tokens, width). See `DeviceArray.copy`.
        """
        self._copy(row, cross, 0, begin, end)

    def _copy(
        self, row: int, blocks: Sequence[DeviceArray], line: int, begin: int, end: int
    ) -> None:
        """Copy tokens of a line of `blocks` to a slot for `row`."""
        slot = self._slots.take()
        for block, read in zip(self._blocks, blocks, strict=True):
            block.copy(slot, read, line, end - begin, begin=begin)
        self.lengths[slot] = end - begin
        self._readers[slot] = 1
        self.of_rows[row] = slot

    def share(self, row: int, new: int) -> None:
        """Let the row `new` read what `row` does."""
        slot = int(self.of_rows[row])
        if self.are_shared:
            self._readers[slot] += 1
            self.of_rows[new] = slot
        else:
            self._copy(new, self._blocks, slot, 0, int(self.lengths[slot]))

    def leave(self, row: int) -> None:
        """End the reading of one row; a source without readers is freed."""
        slot = int(self.of_rows[row])
        self._readers[slot] -= 1
        if not self._readers[slot]:
            self.lengths[slot] = 1
            self._slots.free(slot)

    def clear(self) -> None:
        self.lengths[:] = 1
        self._slots.clear()

    def move_row(self, last: int, row: int) -> None:
        """Follow a row to another slot of rows."""
        self.of_rows[row] = self.of_rows[last]

    def close_gaps(self) -> None:
        self._slots.close_gaps(self._move)

    def _move(self, last: int, slot: int) -> None:
        for block in self._blocks:
            block.copy(slot, block, last, int(self.lengths[last]))
        self.lengths[slot], self.lengths[last] = self.lengths[last], 1
        self._readers[slot] = self._readers[last]
        self.of_rows[self.of_rows == last] = slot

    def resize(self, longest: int) -> bool:
        """Make room for sources of `longest` tokens and those here. Return whether arrays moved.

        Room also shrinks: without our kernels each step reads all of it.
        """
        longest = max(longest, int(self.lengths[: self.count].max(initial=1)))
        length = _rounded_length(longest)
        if self.room // 4 < length <= self.room:
            return False
        blocks = self._blocks_of(length)
        for block, old in zip(blocks, self._blocks, strict=True):
            for slot in range(self.count):
                block.copy(slot, old, slot, int(self.lengths[slot]))
            block.finish_copies()
        self._blocks = blocks
        return True

    def bind(self, binding: ort.IOBinding, layer: int, sources: int) -> None:
        """Bind what one layer reads of the first `sources`."""
        for offset, name in enumerate(("key", "value")):
            for block, (suffix, _, _) in zip(self._blocks, self._parts, strict=True):
                read = f"cross_{name}{suffix}.{layer}"
                block.bind(binding.bind_input, read, 2 * layer + offset, sources)


def _rounded_length(tokens: int) -> int:
    return -(-tokens // _LENGTH_STEP) * _LENGTH_STEP
