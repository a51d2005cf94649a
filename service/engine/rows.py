"""The memory of the rows that an engine decodes together, and its binding to the decoder's graph.

Rows under way are the first `active` of every array, so that the graph sees them as one block of
memory, without a copy. A row that leaves is replaced by the last.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from service.contracts import Hypothesis, Prompt
from service.engine.bundle import Architecture

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_LENGTH_STEP = 16  # of the cross-attention's memory, in tokens
_FREE = -1  # a place whose token is not forced


class Rows:
    """Arrays of `capacity` rows for answers of up to `columns` tokens."""

    def __init__(self, shape: Architecture, *, capacity: int, columns: int) -> None:
        self._shape = shape
        self.capacity = capacity
        self.columns = columns
        self.keys: list[Hashable] = []
        layers = 2 * shape.decoder_layers  # keys and values in turn
        self._cache: Floats = np.zeros(
            (layers, capacity, shape.heads, columns, shape.d_kv), np.float32
        )
        self._cross: Floats = np.zeros(
            (layers, capacity, shape.heads, _LENGTH_STEP, shape.d_kv), np.float32
        )
        self._token: Ids = np.zeros(capacity, np.int64)
        self._past = np.zeros(capacity, np.int32)
        self._source_lengths = np.zeros(capacity, np.int32)
        self._longest = np.zeros((), np.int32)
        self._best: Ids = np.zeros((capacity, 2), np.int64)
        self._logprobs: Floats = np.zeros((capacity, 2), np.float32)
        # What each row has written: the two likeliest tokens of each step, and the one taken.
        self._best_so_far: Ids = np.zeros((capacity, columns, 2), np.int64)
        self._logprobs_so_far: Floats = np.zeros((capacity, columns, 2), np.float32)
        self._taken: Ids = np.zeros((capacity, columns), np.int64)
        self._most = np.zeros(capacity, np.int32)  # tokens that a row may write
        self._forced: Ids = np.full((capacity, columns), _FREE, np.int64)
        self._bindings: dict[int, ort.IOBinding] = {}

    @property
    def active(self) -> int:
        return len(self.keys)

    # -- joining and leaving ---------------------------------------------------------------------

    def add(self, key: Hashable, prompt: Prompt, cross: Floats) -> None:
        """A new row; `cross` (2 * layers, heads, length, d_kv) is the encoder's."""
        row, length = self.active, len(prompt.source)
        self._cross[:, row, :, :length] = cross[:, :, :length]
        self._token[row] = self._shape.start_id
        self._past[row] = 0
        self._source_lengths[row] = length
        self._most[row] = min(prompt.max_new_tokens or self.columns, self.columns)
        self._forced[row] = _FREE
        self._forced[row, : len(prompt.forced)] = prompt.forced
        self.keys.append(key)

    def make_room(self, longest: int) -> None:
        """Fit the cross-attention's memory to sources of up to `longest` tokens, and these rows'.

        All of it is read at each step, so that it also shrinks.
        """
        active = self.active
        longest = max(longest, int(self._source_lengths[:active].max(initial=0)))
        length = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
        had = self._cross.shape[3]
        if had // 2 < length <= had:
            return
        layers, capacity, heads, _, d_kv = self._cross.shape
        room: Floats = np.zeros((layers, capacity, heads, length, d_kv), np.float32)
        kept = min(length, had)
        room[:, :active, :, :kept] = self._cross[:, :active, :, :kept]
        self._cross = room
        self._bindings.clear()

    def remove(self, rows: list[int]) -> None:
        for row in sorted(rows, reverse=True):
            last = self.active - 1
            if row != last:
                self._move(last, row)
            self.keys.pop()

    def _move(self, last: int, row: int) -> None:
        past, length = int(self._past[last]), int(self._source_lengths[last])
        self._cache[:, row, :, :past] = self._cache[:, last, :, :past]
        self._cross[:, row, :, :length] = self._cross[:, last, :, :length]
        for array in (
            self._token, self._past, self._source_lengths, self._most, self._forced,
            self._best_so_far, self._logprobs_so_far, self._taken,
        ):  # fmt: skip
            array[row] = array[last]
        self.keys[row] = self.keys[last]

    # -- stepping --------------------------------------------------------------------------------

    def step(self, decoder: ort.InferenceSession) -> list[int]:
        """Let the decoder write one token in every row; the rows that have come to their end."""
        active = self.active
        past = self._past[:active]
        self._longest[...] = past.max() + 1
        decoder.run_with_iobinding(self._binding(decoder))
        rows = np.arange(active)
        forced = self._forced[rows, past]
        taken = np.where(forced == _FREE, self._best[:active, 0], forced)
        self._best_so_far[rows, past] = self._best[:active]
        self._logprobs_so_far[rows, past] = self._logprobs[:active]
        self._taken[rows, past] = taken
        self._token[:active] = taken
        past += 1
        ended = (taken == self._shape.eos_id) | (past == self._most[:active])
        return [int(row) for row in np.flatnonzero(ended)]

    def _binding(self, decoder: ort.InferenceSession) -> ort.IOBinding:
        """The graph's inputs and outputs bound to the memory of the active rows."""
        active = self.active
        if active in self._bindings:
            return self._bindings[active]
        binding = self._bindings[active] = decoder.io_binding()

        def value(array: npt.NDArray[np.generic]) -> ort.OrtValue:
            return ort.OrtValue.ortvalue_from_numpy(array)  # of the same memory

        for name, array in (
            ("token", self._token[:active]),
            ("past", self._past[:active]),
            ("longest", self._longest),
            ("source_lengths", self._source_lengths[:active]),
        ):
            binding.bind_ortvalue_input(name, value(array))
        for layer in range(self._shape.decoder_layers):
            for part, name in enumerate(("key", "value")):
                cache = value(self._cache[2 * layer + part, :active])
                binding.bind_ortvalue_input(f"{name}.{layer}", cache)
                binding.bind_ortvalue_output(f"new_{name}.{layer}", cache)
                cross = value(self._cross[2 * layer + part, :active])
                binding.bind_ortvalue_input(f"cross_{name}.{layer}", cross)
        binding.bind_ortvalue_output("best", value(self._best[:active]))
        binding.bind_ortvalue_output("logprobs", value(self._logprobs[:active]))
        return binding

    def written(self, row: int) -> list[int]:
        tokens: list[int] = self._taken[row, : self._past[row]].tolist()
        return tokens

    def hypothesis(self, row: int) -> Hypothesis:
        """What a row that has ended has written."""
        steps = int(self._past[row])
        taken = self._taken[row, :steps]
        best, logprobs = self._best_so_far[row, :steps], self._logprobs_so_far[row, :steps]
        is_first, is_second = taken == best[:, 0], taken == best[:, 1]
        taken_logprobs = np.where(
            is_first, logprobs[:, 0], np.where(is_second, logprobs[:, 1], np.nan)
        )
        tokens = taken.tolist()
        return Hypothesis(
            tokens=tokens[:-1] if tokens[-1] == self._shape.eos_id else tokens,
            logprobs=taken_logprobs.tolist(),
            runners_up=np.where(is_first, best[:, 1], best[:, 0]).tolist(),
            runner_up_logprobs=np.where(is_first, logprobs[:, 1], logprobs[:, 0]).tolist(),
        )
