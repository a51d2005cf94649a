"""KV cache slots of the rows that an engine decodes together, bound to the decoder's graph.

When a step starts, the active rows are the first `active` of every array: the graph reads them as
one block of memory, without a copy. The slot of a row that leaves is given to the next row that
joins; if none joins before the next step, the last row moves into it. The same holds for what the
rows read: see `sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

import numpy as np
import onnxruntime as ort

from engine.bundle import Architecture
from engine.contracts import Answer, Progress, Prompt
from engine.cuda_runtime import Copier
from engine.device_arrays import ELEMENTS, DeviceArray, zeros
from engine.paths import Chosen
from engine.slots import Slots
from engine.sources import SOURCES, Sources
from engine.step_calls import StepCalls
from engine.tasks import Tasks
from engine.transcripts import Floats, Ids, Transcripts

_FIRST_COLUMNS = 32  # of the cache; where a row needs more they double
_GAP = object()  # replaces the key of a row that has left


class KVSlots:
    """Arrays of `capacity` rows for answers of up to `columns` tokens.

    The cache has columns for the longest answer so far, not for the longest that is allowed.
    Keys and values are stored on `device` (`cpu` or `cuda`), in the decoder's own float type, and
    copied by `copier`: see `DeviceArray`.

    With `captured_sources`, the longest source, a step is captured as a CUDA graph, which needs all
    arrays at the same addresses in every step: they have their largest size from the beginning.
    """

    def __init__(
        self,
        shape: Architecture,
        decoder: ort.InferenceSession,
        *,
        capacity: int,
        columns: int,
        choosing: Sequence[ort.InferenceSession] = (),
        decode: Callable[[Sequence[int]], str],
        device: str = "cpu",
        copier: Copier | None = None,
        captured_sources: int | None = None,
    ) -> None:
        self._shape = shape
        self._device = device
        self._copier = copier
        self._fixed = captured_sources is not None
        self.capacity = capacity
        self.columns = columns
        self._slots = Slots()
        self._keys: list[Hashable] = [_GAP] * capacity
        kinds = {
            value.name: value.type for value in (*decoder.get_inputs(), *decoder.get_outputs())
        }
        self._element = ELEMENTS[kinds["key.0"]]
        self._steps_before_full = self._first_columns(decoder)  # at least; `_grow` counts them anew
        self._cache = self._block(self._steps_before_full)
        self._sources = Sources(
            shape,
            decoder,
            capacity=capacity,
            longest=captured_sources or 1,
            device=device,
            copier=copier,
        )
        self._token: Ids = np.zeros((capacity, 1), np.int64)
        self._past = np.zeros(capacity, np.int32)
        self._best: Ids = np.zeros((capacity, 2), np.int64)
        self._logprobs: Floats = np.zeros((capacity, 2), ELEMENTS[kinds["logprobs"]])
        self._transcripts = Transcripts(capacity, columns)  # of rows without a task
        self._most = np.zeros(capacity, np.int32)  # the most tokens a row may decode
        self._reserved: dict[Hashable, int] = {}  # rows that prompts do not need yet
        by_row = {SOURCES: self._sources.of_rows} if self._sources.are_shared else {}
        self._calls = StepCalls(
            decoder,
            self._bind,
            inputs={"token": self._token, "past": self._past, **by_row},
            source_inputs={"source_lengths": self._sources.lengths},
            outputs={"best": self._best, "logprobs": self._logprobs},
            idle=("past", *by_row),
            device=device,
            captured=self._fixed,
        )
        self._has_task = np.zeros(capacity, np.bool_)
        self._tasks = self._open_tasks(decoder, choosing, decode) if choosing else None

    def _first_columns(self, decoder: ort.InferenceSession) -> int:
        """Return the columns that the cache has at first."""
        fixed = next(value.shape[2] for value in decoder.get_inputs() if value.name == "key.0")
        if isinstance(fixed, int):  # format 4
            return fixed
        return self.columns if self._fixed else min(_FIRST_COLUMNS, self.columns)

    def _open_tasks(
        self,
        decoder: ort.InferenceSession,
        choosing: Sequence[ort.InferenceSession],
        decode: Callable[[Sequence[int]], str],
    ) -> Tasks:
        """Return the prompts whose settings change the choice, and allocate the logits.

        Other rows take the first of their likeliest.
        """
        width = next(value.shape[2] for value in decoder.get_outputs() if value.name == "logits")
        self._logits = zeros((self.capacity, 1, width), np.float32, self._device)
        return Tasks(
            self._shape, choosing, self._logits,
            columns=self.columns, decode=decode, fork=self._fork,
        )  # fmt: skip

    def _block(self, columns: int) -> DeviceArray:
        """Allocate columns for the keys and the values of each layer in turn, for all rows."""
        layers, heads, d_kv = self._shape.decoder_layers, self._shape.heads, self._shape.d_kv
        shape = (2 * layers, self.capacity, heads, columns, d_kv)
        return DeviceArray.zeros(shape, self._element, self._device, self._copier)

    @property
    def cross_outputs(self) -> list[str]:
        """The outputs of the encoder that `add` copies from, in their order."""
        return self._sources.outputs

    @property
    def active(self) -> int:
        """The number of rows that prompts have or may still take."""
        reserved = sum(self._reserved.values()) if self._reserved else 0  # asked for in every step
        return self._slots.in_use + reserved

    # -- joining and leaving ---------------------------------------------------------------------

    def add(self, key: Hashable, prompt: Prompt, cross: Sequence[DeviceArray], begin: int) -> None:
        """Add a prompt, which takes one row and reserves the others; copy the keys and values that
        it reads from `cross`, the encoder's `cross_outputs` (each 2 * layers, 1, heads, tokens,
        width), from token `begin` on.

        `cross` must exist until `finish_copies` or the next step.
        """
        is_plain = prompt.decoding.plain
        if not is_plain and self._tasks is None:
            raise ValueError(f"{prompt.decoding}: this bundle decodes greedily only")
        row = self._slots.take()
        self._keys[row] = key
        self._token[row] = self._shape.start_id
        self._past[row] = 0
        self._most[row] = _most(prompt, self.columns)
        self._has_task[row] = self._tasks is not None and not is_plain
        if prompt.rows > 1:  # alike until their first choice
            self._reserved[key] = prompt.rows - 1
        self._sources.add(row, cross, begin, begin + len(prompt.source))
        if self._tasks is not None and not is_plain:
            self._tasks.add(key, prompt, row, most=int(self._most[row]))
        elif prompt.forced:
            self._transcripts.force(row, prompt.forced)

    def _fork(self, row: int) -> int:
        """Give the prompt of `row` one of its reserved rows, a copy of `row`; return it."""
        key, new = self._keys[row], self._slots.take()
        self._keys[new] = key
        self._reserved[key] -= 1
        self._copy_numbers(row, new)
        self._cache.copy(new, self._cache, row, int(self._past[row]))
        self._sources.share(row, new)
        return new

    def _copy_numbers(self, row: int, to: int) -> None:
        for array in (self._token, self._past, self._most, self._has_task):
            array[to] = array[row]

    def finish_copies(self) -> None:
        """Return when all rows have what was copied for them."""
        self._cache.finish_copies()

    def make_room(self, longest: int) -> None:
        """Make room for sources of up to `longest` tokens and those of the rows here."""
        if self._fixed and longest <= self._sources.room:
            return
        if self._sources.resize(longest):
            self._calls.forget()

    def _grow(self) -> None:
        """Make room in the cache for one more column of every row."""
        rows, had = self._slots.end, self._cache.shape[3]
        longest = int(self._past[:rows].max())
        if longest == had:
            had = min(2 * had, self.columns)
            cache = self._block(had)
            for row in range(rows):
                cache.copy(row, self._cache, row, int(self._past[row]))
            cache.finish_copies()
            self._cache = cache
            self._calls.forget()
        self._steps_before_full = had - longest

    def remove(self, keys: Collection[Hashable]) -> None:
        """Remove the rows with these `keys`; ignore keys without a row."""
        self._free(row for row, key in enumerate(self._keys) if key in keys)
        if self._reserved:
            for key in keys:
                self._reserved.pop(key, None)
        if self._tasks:
            self._tasks.discard(keys)

    def _free(self, rows: Iterable[int]) -> None:
        for row in rows:
            self._keys[row] = _GAP
            self._slots.free(row)
            self._sources.leave(row)
            self._transcripts.end(row)

    def clear(self) -> None:
        self._keys[:] = [_GAP] * self.capacity
        self._slots.clear()
        self._reserved.clear()
        self._sources.clear()
        self._transcripts.clear()
        if self._tasks:
            self._tasks.clear()

    def _close_gaps(self) -> None:
        self._slots.close_gaps(self._move)
        self._sources.close_gaps()

    def _move(self, last: int, row: int) -> None:
        self._cache.copy(row, self._cache, last, int(self._past[last]))
        self._sources.move_row(last, row)
        self._transcripts.move(last, row)
        self._copy_numbers(last, row)
        key = self._keys[row] = self._keys[last]
        self._keys[last] = _GAP
        if self._tasks:
            self._tasks.moved(key, last, row)

    # -- stepping --------------------------------------------------------------------------------

    def step(self) -> dict[Hashable, Answer]:
        """Decode one token in every row. Remove and return the finished rows."""
        if self._slots.have_gaps:
            self._close_gaps()
        if not self._steps_before_full:
            self._grow()
        self._steps_before_full -= 1
        active = self._slots.end
        self.finish_copies()
        self._calls.run(active, self._sources.count)
        past = self._past[:active]
        best = self._best[:active]
        taken = self._token[:active, 0]
        taken[:] = self._transcripts.add(past, best, self._logprobs[:active])
        past += 1
        chosen: dict[Hashable, Chosen] = {}
        if self._tasks:
            chosen = self._tasks.choose(best.tolist(), self._logprobs[:active].tolist())
        ended = (taken == self._shape.eos_id) | (past == self._most[:active])
        if chosen:
            ended &= ~self._has_task[:active]
        finished = {self._keys[row]: self._answer(row) for row in ended.nonzero()[0].tolist()}
        if chosen:
            finished |= self._outcomes(chosen)
        if finished:
            self.remove(finished)
        return finished

    def _outcomes(self, chosen: dict[Hashable, Chosen]) -> dict[Hashable, Answer]:
        """Carry out the choices; return the answers of the prompts that have ended."""
        finished: dict[Hashable, Answer] = {}
        for key, choice in chosen.items():
            if choice.answer is not None:
                finished[key] = choice.answer
                continue  # all of its rows are removed
            for row, token in choice.tokens.items():
                self._token[row, 0] = token
            for row, source, begin in choice.copies:
                length = int(self._past[source]) - begin
                if length > 0:
                    self._cache.copy(row, self._cache, source, length, begin=begin, to=begin)
            self._free(choice.ended)
            if choice.spared:
                self._reserved[key] -= choice.spared
        return finished

    def _bind(self, binding: ort.IOBinding, rows: int, sources: int) -> None:
        """Bind the caches, what cross-attention reads and the logits, of the first rows."""
        for layer in range(self._shape.decoder_layers):
            for part, name in enumerate(("key", "value")):
                index = 2 * layer + part
                self._cache.bind(binding.bind_input, f"{name}.{layer}", index, rows)
                self._cache.bind(binding.bind_output, f"new_{name}.{layer}", index, rows)
            self._sources.bind(binding, layer, sources)
        if self._tasks is not None:
            _, *sizes = self._logits.shape()
            address = self._logits.data_ptr()
            binding.bind_output("logits", self._device, 0, np.float32, [rows, *sizes], address)

    # -- decoded tokens --------------------------------------------------------------------------

    def written(self, key: Hashable, since: int) -> Progress:
        """Return what a prompt has decoded after its first `since` tokens; none of several rows."""
        if self._tasks and (chosen := self._tasks.written(key, since)) is not None:
            return chosen
        row = self._keys.index(key)
        return self._transcripts.progress(row, since, int(self._past[row]))

    def _answer(self, row: int) -> Answer:
        steps, eos_id = int(self._past[row]), self._shape.eos_id
        return Answer((self._transcripts.hypothesis(row, steps, eos_id=eos_id),))


def _most(prompt: Prompt, columns: int) -> int:
    """Return the most tokens of an answer, its forced ones included."""
    most = prompt.decoding.max_new_tokens
    return columns if most is None else min(len(prompt.forced) + most, columns)
