"""Slots that close their gaps, and sources that live as long as a row reads them."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle import Architecture
from engine.device_arrays import DeviceArray
from engine.slots import Slots
from engine.sources import Sources

SHAPE = Architecture(
    decoder_layers=1, heads=1, d_kv=2, parameters=0, pad_id=0, eos_id=1, start_id=0
)
ROWS = 12
# Events: a prompt of some rows with a source of some tokens joins, one of the rows here leaves, a
# new row reads what one of them does, or gaps are closed, as before each step.
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.integers(1, 4), st.integers(1, 40)),
        st.tuples(st.just("leave"), st.integers(0, ROWS), st.just(0)),
        st.tuples(st.just("share"), st.integers(0, ROWS), st.just(0)),
        st.tuples(st.just("close"), st.just(0), st.just(0)),
    ),
    max_size=40,
)


class Decoder:
    """A session that has only the types, and takes an index of sources or not."""

    def __init__(self, *, shares: bool) -> None:
        self._names = ["token", "cross_key.0", *(["sources"] if shares else [])]

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name, type="tensor(float)") for name in self._names]


class Binding:
    """A binding that shows what is at the addresses that it is given."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def bind_input(
        self, name: str, _device: str, _id: int, element: np.dtype, shape: list[int], address: int
    ) -> None:
        size = int(np.prod(shape)) * element.itemsize
        memory = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
        self.arrays[name] = np.frombuffer(memory, element).reshape(shape)


class Reading:
    """Rows with the sources that they read, driven as `KVSlots` drives both."""

    def __init__(self, *, shares: bool) -> None:
        self.sources = Sources(
            SHAPE, Decoder(shares=shares), capacity=ROWS, longest=1, device="cpu"
        )
        self.rows: dict[int, tuple[int, int]] = {}  # the number of the prompt, and its length
        self._slots = Slots()
        self._prompts = 0

    def join(self, rows: int, length: int) -> None:
        if len(self.rows) + rows > ROWS:
            return
        self._prompts += 1
        taken = [self._slots.take() for _ in range(rows)]
        self.sources.resize(length)
        keys = np.full((2, 1, 1, length + 3, 2), self._prompts, np.float32)
        keys[:, :, :, :2] = keys[:, :, :, -1:] = -1.0  # of other prompts in the same call
        cross = DeviceArray(ort.OrtValue.ortvalue_from_numpy(keys), "cpu")
        self.sources.add(taken[0], [cross], 2, 2 + length)
        for row in taken[1:]:
            self.sources.share(taken[0], row)
        self.rows |= dict.fromkeys(taken, (self._prompts, length))

    def leave(self, nth: int) -> None:
        if self.rows:
            row = sorted(self.rows)[nth % len(self.rows)]
            del self.rows[row]
            self._slots.free(row)
            self.sources.leave(row)

    def share(self, nth: int) -> None:
        if self.rows and len(self.rows) < ROWS:
            row, new = sorted(self.rows)[nth % len(self.rows)], self._slots.take()
            self.rows[new] = self.rows[row]
            self.sources.share(row, new)

    def close(self) -> None:
        self._slots.close_gaps(self._move)
        self.sources.close_gaps()

    def _move(self, last: int, row: int) -> None:
        self.rows[row] = self.rows.pop(last)
        self.sources.move_row(last, row)

    def run(self, events: list[tuple[str, int, int]]) -> None:
        for what, number, length in events:
            if what == "join":
                self.join(number, length)
            elif what == "leave":
                self.leave(number)
            elif what == "share":
                self.share(number)
            else:
                self.close()
        self.close()

    def read(self) -> dict[int, tuple[int, int]]:
        """Return what the rows find in the arrays that a call of the decoder is bound to."""
        binding = Binding()
        self.sources.bind(binding, 0, self.sources.count)
        found = {}
        for row in self.rows:
            slot = self.sources.of_rows[row]
            length = int(self.sources.lengths[slot])
            numbers = [
                array[slot, 0, :length] for array in binding.arrays.values()
            ]  # key and value
            assert all((part == numbers[0][0, 0]).all() for part in numbers)
            found[row] = (int(numbers[0][0, 0]), length)
        return found


@given(EVENTS)
def test_a_source_is_kept_once_while_a_row_reads_it(events: list[tuple[str, int, int]]) -> None:
    reading = Reading(shares=True)
    reading.run(events)
    assert reading.read() == reading.rows
    assert sorted(reading.rows) == [*range(len(reading.rows))]
    assert reading.sources.count == len(set(reading.rows.values()))
    assert (reading.sources.lengths[reading.sources.count :] == 1).all()


@given(EVENTS)
def test_without_an_index_the_source_of_a_row_has_its_number(
    events: list[tuple[str, int, int]],
) -> None:
    reading = Reading(shares=False)
    reading.run(events)
    assert reading.read() == reading.rows
    assert reading.sources.count == len(reading.rows)
    assert all(reading.sources.of_rows[row] == row for row in reading.rows)


def test_room_grows_and_shrinks_with_the_longest_source() -> None:
    reading = Reading(shares=True)
    for length, room in ((5, 16), (17, 32), (200, 208), (30, 208)):
        reading.join(2, length)
        assert reading.sources.room == room
    for _ in range(6):
        reading.leave(0)
    reading.close()
    reading.join(1, 16)
    assert reading.sources.room == 32
    assert reading.read() == reading.rows


def test_cleared_sources_begin_anew() -> None:
    reading = Reading(shares=True)
    reading.join(3, 9)
    reading.sources.clear()
    assert reading.sources.count == 0
    assert (reading.sources.lengths == 1).all()


@given(st.lists(st.integers(-1, 8), max_size=60))
def test_slots_close_their_gaps(events: list[int]) -> None:
    """The content of a slot follows it; -1 takes one, any other number frees one in use."""
    slots, held, taken = Slots(), dict[int, int](), 0

    def move(last: int, gap: int) -> None:
        held[gap] = held.pop(last)

    kept = set()
    for event in events:
        if event < 0:
            held[slots.take()] = taken
            kept.add(taken)
            taken += 1
        elif held:
            slot = sorted(held)[event % len(held)]
            kept.discard(held.pop(slot))
            slots.free(slot)
        if event == 0:
            slots.close_gaps(move)
        assert slots.in_use == len(held)
    slots.close_gaps(move)
    assert sorted(held) == [*range(slots.end)]
    assert set(held.values()) == kept
