"""KV cache slots of the rows that an engine decodes together, bound to the decoder's graph.

When a step starts, the active rows are the first `active` of every array: the graph reads them as
one block of memory, without a copy. The slot of a row that leaves is given to the next row that
joins; if none joins before the next step, the last row moves into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from engine.bundle import Architecture
from engine.contracts import Answer, Hypothesis, Prompt
from engine.device_arrays import ELEMENTS, DeviceArray, zeros
from engine.paths import Chosen
from engine.step_calls import StepCalls
from engine.tasks import Tasks

Ids = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_LENGTH_STEP = 16  # tokens: cross-attention slots grow by multiples of this
_FIRST_COLUMNS = 32  # of the cache; where a row needs more they double
_CROSS, _SCALES = "", "_scales"  # endings of the names of what cross-attention reads
_FREE = -1  # a position whose token is not forced
_GAP = object()  # replaces the key of a row that has left


class KVSlots:
    """Arrays of `capacity` rows for answers of up to `columns` tokens.

    The cache has columns for the longest answer so far, not for the longest that is allowed.
    Keys and values are stored on `device` (`cpu` or `cuda`), in the decoder's own float type.

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
        captured_sources: int | None = None,
    ) -> None:
        self._shape = shape
        self._device = device
        self._fixed = captured_sources is not None
        self.capacity = capacity
        self.columns = columns
        self._keys: list[Hashable] = []
        self._gaps: list[int] = []
        self._forcing: set[Hashable] = set()  # keys of the rows that have forced tokens
        kinds = {
            value.name: value.type for value in (*decoder.get_inputs(), *decoder.get_outputs())
        }
        self._element = ELEMENTS[kinds["key.0"]]
        fixed = next(value.shape[2] for value in decoder.get_inputs() if value.name == "key.0")
        if isinstance(fixed, int):  # format 4
            had = fixed
        else:
            had = columns if self._fixed else min(_FIRST_COLUMNS, columns)
        self._cache = self._block(had, shape.d_kv, self._element)
        self._steps_before_full = had  # of the cache, at least; `_grow` counts them anew
        # Cross-attention reads keys and values, and scales where these are integers.
        self._cross_parts = [(_CROSS, shape.d_kv, ELEMENTS[kinds["cross_key.0"]])]
        if "cross_key_scales.0" in kinds:
            self._cross_parts.append((_SCALES, 1, np.float32))
        self._cross = self._cross_blocks(_rounded_length(captured_sources or 1))
        self._token: Ids = np.zeros((capacity, 1), np.int64)
        self._past = np.zeros(capacity, np.int32)
        self._source_lengths = np.zeros(capacity, np.int32)
        self._best: Ids = np.zeros((capacity, 2), np.int64)
        self._logprobs: Floats = np.zeros((capacity, 2), ELEMENTS[kinds["logprobs"]])
        # The two likeliest tokens of each step; the first was decoded unless another was forced.
        self._best_so_far: Ids = np.zeros((capacity, columns, 2), np.int64)
        self._logprobs_so_far: Floats = np.zeros((capacity, columns, 2), np.float32)
        self._most = np.zeros(capacity, np.int32)  # the most tokens a row may decode
        self._forced: Ids = np.full((capacity, columns), _FREE, np.int64)
        self._numbers = np.arange(capacity)
        self._calls = StepCalls(
            decoder,
            self._bind,
            inputs={"token": self._token, "past": self._past,
                    "source_lengths": self._source_lengths},
            outputs={"best": self._best, "logprobs": self._logprobs},
            idle={"past": 0, "source_lengths": 1},
            device=device,
            captured=self._fixed,
        )  # fmt: skip
        # Prompts whose settings change the choice; other rows take the first of their likeliest.
        self._tasks: Tasks | None = None
        self._has_task = np.zeros(capacity, np.bool_)
        if choosing:
            width = next(v.shape[2] for v in decoder.get_outputs() if v.name == "logits")
            self._logits = zeros((capacity, 1, width), np.float32, device)
            self._tasks = Tasks(shape, choosing, self._logits, columns=columns, decode=decode)

    def _block(self, length: int, width: int, element: npt.DTypeLike) -> DeviceArray:
        """Allocate `width` numbers for each key and value of each layer in turn, for all rows."""
        shape = (2 * self._shape.decoder_layers, self.capacity, self._shape.heads, length)
        return DeviceArray.zeros((*shape, width), element, self._device)

    def _cross_blocks(self, length: int) -> list[DeviceArray]:
        return [self._block(length, width, element) for _, width, element in self._cross_parts]

    @property
    def cross_outputs(self) -> list[str]:
        """The outputs of the encoder that `add` copies from, in their order."""
        return [f"cross{suffix}" for suffix, _, _ in self._cross_parts]

    @property
    def active(self) -> int:
        return len(self._keys) - len(self._gaps)

    # -- joining and leaving ---------------------------------------------------------------------

    def add(self, key: Hashable, prompt: Prompt, cross: Sequence[DeviceArray], begin: int) -> None:
        """Add a prompt's rows; copy their keys and values from `cross`, the encoder's
        `cross_outputs` (each 2 * layers, 1, heads, tokens, width), from token `begin` on.
        """
        rows = [self._add_row(key, prompt, cross, begin) for _ in range(prompt.rows)]
        if not prompt.decoding.plain:
            if self._tasks is None:
                raise ValueError(f"{prompt.decoding}: this bundle decodes greedily only")
            self._tasks.add(key, prompt, rows, most=_most(prompt, self.columns))
            self._has_task[rows] = True
        elif prompt.forced:
            self._forced[rows[0], : len(prompt.forced)] = prompt.forced
            self._forcing.add(key)

    def _add_row(
        self, key: Hashable, prompt: Prompt, cross: Sequence[DeviceArray], begin: int
    ) -> int:
        if self._gaps:
            row = self._gaps.pop()
            self._keys[row] = key
        else:
            row = len(self._keys)
            self._keys.append(key)
        length = len(prompt.source)
        for slots, read in zip(self._cross, cross, strict=True):
            slots.copy(row, read, 0, length, begin=begin)
        self._token[row] = self._shape.start_id
        self._past[row] = 0
        self._source_lengths[row] = length
        self._most[row] = _most(prompt, self.columns)
        self._forced[row] = _FREE
        self._has_task[row] = False
        return row

    def make_room(self, longest: int) -> None:
        """Resize the cross-attention slots for sources of up to `longest` tokens and the rows here.

        They also shrink: without our kernels each step reads all of their memory.
        """
        had_rows = len(self._keys)
        longest = max(longest, int(self._source_lengths[:had_rows].max(initial=0)))
        length = _rounded_length(longest)
        had = self._cross[0].shape[3]
        if had // 4 < length <= had or (self._fixed and length <= had):
            return
        room = self._cross_blocks(length)
        for slots, old in zip(room, self._cross, strict=True):
            for row in range(had_rows):
                slots.copy(row, old, row, int(self._source_lengths[row]))
        self._cross = room
        self._calls.forget()

    def _grow(self) -> None:
        """Make room in the cache for one more column of every row."""
        rows, had = len(self._keys), self._cache.shape[3]
        longest = int(self._past[:rows].max())
        if longest == had:
            had = min(2 * had, self.columns)
            cache = self._block(had, self._shape.d_kv, self._element)
            for row in range(rows):
                cache.copy(row, self._cache, row, int(self._past[row]))
            self._cache = cache
            self._calls.forget()
        self._steps_before_full = had - longest

    def remove(self, keys: Collection[Hashable]) -> None:
        """Remove the rows with these `keys`; ignore keys without a row."""
        self._free(row for row, key in enumerate(self._keys) if key in keys)
        self._forcing.difference_update(keys)
        if self._tasks:
            self._tasks.discard(keys)

    def _free(self, rows: Iterable[int]) -> None:
        for row in rows:
            self._keys[row] = _GAP
            self._gaps.append(row)

    def clear(self) -> None:
        for kept in (self._keys, self._gaps, self._forcing, self._tasks):
            if kept:
                kept.clear()

    def _close_gaps(self) -> None:
        for row in sorted(self._gaps, reverse=True):
            last = len(self._keys) - 1
            if row != last:
                self._move(last, row)
            self._keys.pop()
        self._gaps.clear()

    def _move(self, last: int, row: int) -> None:
        self._cache.copy(row, self._cache, last, int(self._past[last]))
        for slots in self._cross:
            slots.copy(row, slots, last, int(self._source_lengths[last]))
        for array in (
            self._token, self._past, self._source_lengths, self._most, self._forced,
            self._best_so_far, self._logprobs_so_far, self._has_task,
        ):  # fmt: skip
            array[row] = array[last]
        key = self._keys[row] = self._keys[last]
        if self._tasks:
            self._tasks.moved(key, last, row)

    # -- stepping --------------------------------------------------------------------------------

    def step(self) -> dict[Hashable, Answer]:
        """Decode one token in every row. Remove and return the finished rows."""
        self._close_gaps()
        if not self._steps_before_full:
            self._grow()
        self._steps_before_full -= 1
        active = len(self._keys)
        self._calls.run(active)
        past = self._past[:active]
        positions = self._numbers[:active], past
        best = self._best[:active]
        self._best_so_far[positions] = best
        self._logprobs_so_far[positions] = self._logprobs[:active]
        taken = self._token[:active, 0]
        taken[:] = _taken(self._forced[positions], best) if self._forcing else best[:, 0]
        chosen: dict[Hashable, Chosen] = {}
        if self._tasks:
            chosen = self._tasks.choose(best.tolist(), self._logprobs[:active].tolist())
        past += 1
        ended = (taken == self._shape.eos_id) | (past == self._most[:active])
        if chosen:
            ended &= ~self._has_task[:active]
        finished = {
            self._keys[row]: Answer((self._hypothesis(row),)) for row in ended.nonzero()[0].tolist()
        }
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
        return finished

    def _bind(self, binding: ort.IOBinding, rows: int) -> None:
        """Bind the caches, what cross-attention reads and the logits, of the first rows."""
        for layer in range(self._shape.decoder_layers):
            for part, name in enumerate(("key", "value")):
                index = 2 * layer + part
                self._cache.bind(binding.bind_input, f"{name}.{layer}", index, rows)
                self._cache.bind(binding.bind_output, f"new_{name}.{layer}", index, rows)
                for slots, (suffix, _, _) in zip(self._cross, self._cross_parts, strict=True):
                    cross = f"cross_{name}{suffix}.{layer}"
                    slots.bind(binding.bind_input, cross, index, rows)
        if self._tasks is not None:
            _, *sizes = self._logits.shape()
            address = self._logits.data_ptr()
            binding.bind_output("logits", self._device, 0, np.float32, [rows, *sizes], address)

    # -- decoded tokens --------------------------------------------------------------------------

    def written(self, key: Hashable) -> list[int]:
        """Return the tokens of a prompt so far, the end token included; none of several rows."""
        if self._tasks and (chosen := self._tasks.written(key)) is not None:
            return chosen
        row = self._keys.index(key)
        steps = int(self._past[row])
        best = self._best_so_far[row, :steps]
        taken = _taken(self._forced[row, :steps], best) if key in self._forcing else best[:, 0]
        tokens: list[int] = taken.tolist()
        return tokens

    def _hypothesis(self, row: int) -> Hypothesis:
        """Return the answer of a finished row."""
        steps = int(self._past[row])
        best, logprobs = self._best_so_far[row, :steps], self._logprobs_so_far[row, :steps]
        taken, others = best[:, 0], best[:, 1]
        taken_logprobs, other_logprobs = logprobs[:, 0], logprobs[:, 1]
        if self._keys[row] in self._forcing:
            taken = _taken(self._forced[row, :steps], best)
            is_first, is_second = taken == best[:, 0], taken == best[:, 1]
            others = np.where(is_first, others, best[:, 0])
            other_logprobs = np.where(is_first, other_logprobs, logprobs[:, 0])
            known = np.where(is_second, logprobs[:, 1], np.nan)
            taken_logprobs = np.where(is_first, taken_logprobs, known)
        tokens = taken.tolist()
        return Hypothesis(
            tokens=tokens[:-1] if tokens[-1] == self._shape.eos_id else tokens,
            logprobs=taken_logprobs.tolist(),
            runners_up=others.tolist(),
            runner_up_logprobs=other_logprobs.tolist(),
        )


def _rounded_length(tokens: int) -> int:
    """Return the length of cross-attention slots for sources of so many tokens."""
    return -(-tokens // _LENGTH_STEP) * _LENGTH_STEP


def _most(prompt: Prompt, columns: int) -> int:
    """Return the most tokens of an answer, its forced ones included."""
    most = prompt.decoding.max_new_tokens
    return columns if most is None else min(len(prompt.forced) + most, columns)


def _taken(forced: Ids, best: Ids) -> Ids:
    """Return the token of each position, from the forced ones (n) and the likeliest (n, 2)."""
    return np.where(forced == _FREE, best[:, 0], forced)
