"""An engine whose device is out of memory: 503 for its rows, and fewer rows from then on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from engine.contracts import Decoding, OutOfMemory, Prompt, Tokens
from engine.echo import EchoEngine
from engine.memory import told_out_of_memory
from service.batching.policy import BatchLimits
from service.contracts import Join, Order, Report
from service.hosting.decode_loop import DecodeLoop
from service.hosting.room import Room

# As ONNX Runtime 1.2x says it (issues 22702 and 9939 of its repository), and as CUDA does.
FULL = [
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv "
    "node. Status Message: bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal("
    "size_t, bool, onnxruntime::Stream*) Failed to allocate memory for requested buffer of size 8",
    "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc",
    "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cublasCreate(&cublas_handle_)",
    "CUDA runtime: error 2 while copying between rows",
]


def run(engine: EchoEngine, prompts: Sequence[Prompt], rows: int) -> Report:
    """Run all prompts through a loop; return all of its reports as one."""
    orders: list[Sequence[Order]] = [
        [Join(key, prompt, False) for key, prompt in enumerate(prompts)]
    ]
    total = Report()

    def receive(wait: bool) -> Sequence[Order] | None:
        if orders:
            return orders.pop()
        return None if wait else []

    def report(one: Report) -> None:
        total.finished.extend(one.finished)
        total.crowded.extend(one.crowded)
        total.failed.extend(one.failed)
        total.steps.extend(one.steps)

    limits = BatchLimits(rows=rows, tokens=10_000)
    DecodeLoop(engine, limits, receive=receive, report=report, clock=lambda: 0.0).run()
    return total


def full_above(rows: int) -> EchoEngine:
    """Return an engine of 16 rows whose memory holds `rows` of them."""

    def before(active: list[Tokens]) -> None:
        if len(active) > rows:
            raise OutOfMemory("Failed to allocate memory for requested buffer of size 8")

    return EchoEngine(before, rows=16)


@pytest.mark.parametrize("holds", [1, 3, 5, 16])
def test_every_prompt_ends_once_and_the_batch_shrinks_until_it_fits(holds: int) -> None:
    report = run(full_above(holds), [Prompt((7, 8, 1))] * 100, rows=16)
    ends = Counter([one.key for one in report.finished] + report.crowded)
    assert ends == Counter(range(100))
    assert not report.failed
    most = max(rows for rows, _ in report.steps)
    assert most <= holds
    lost = {1: 16 + 8 + 4 + 2, 3: 16 + 8 + 4, 5: 16 + 8, 16: 0}[holds]
    assert len(report.crowded) == lost


def test_other_errors_do_not_shrink_the_batch() -> None:
    raised = [ValueError("a bug")]

    def before(active: list[Tokens]) -> None:
        if raised:
            raise raised.pop()

    report = run(EchoEngine(before, rows=4), [Prompt((7, 1))] * 12, rows=4)
    assert sorted(report.failed) == [0, 1, 2, 3]
    assert not report.crowded
    assert max(rows for rows, _ in report.steps) == 4


def test_a_prompt_of_more_rows_than_now_join_has_the_engine_for_itself() -> None:
    wide = Prompt((7, 8, 1), decoding=Decoding(num_beams=4))

    def before(active: list[Tokens]) -> None:
        if len(active) > 2:
            raise OutOfMemory("out of memory")

    report = run(EchoEngine(before, rows=8), [Prompt((7, 1))] * 14 + [wide, wide], rows=8)
    assert {one.key for one in report.finished} == {12, 13, 14, 15}  # two rows may join by then


@pytest.mark.parametrize("wide_last", [True, False])
def test_beyond_the_rows_that_may_join_a_wide_prompt_is_alone(wide_last: bool) -> None:
    """It waits for the rows of others, and others wait for its rows."""
    wide = Prompt((7, 8, 9, 1), decoding=Decoding(num_beams=6))
    lengths = [Prompt((*range(5, 5 + length), 1)) for length in range(1, 9)]
    fails = [OutOfMemory("out of memory")]

    def before(active: list[Tokens]) -> None:
        if fails:
            raise fails.pop()

    later = [*lengths, wide, *lengths] if wide_last else [wide, *lengths]
    report = run(EchoEngine(before, rows=8), [Prompt((7, 1))] * 8 + later, rows=8)
    assert report.crowded == list(range(8))
    assert len(report.finished) == len(later)
    rows = Counter(rows for rows, _ in report.steps)
    assert rows.pop(6) == 4
    assert max(rows) == 4


def test_rows_are_halved_down_to_one() -> None:
    room = Room(13)
    halved = []
    for _ in range(5):
        room.exceeded()
        halved.append(room.rows)
    assert halved == [6, 3, 1, 1, 1]


def test_full_steps_are_counted_anew_after_each_overflow() -> None:
    room = Room(16)
    room.exceeded()
    for _ in range(499):
        room.sufficed(8)
    room.exceeded()
    for _ in range(499):
        room.sufficed(4)
        assert room.rows == 4
    room.sufficed(4)
    assert room.rows == 6


def test_more_rows_are_tried_after_many_full_steps() -> None:
    room = Room(16)
    room.exceeded()
    room.exceeded()
    assert room.rows == 4
    for _ in range(10_000):
        room.sufficed(3)  # these prove nothing
    assert room.rows == 4
    tried = []
    while room.rows < 16:
        room.sufficed(room.rows)
        tried.append(room.rows)
    assert sorted(set(tried)) == [4, 6, 8, 10, 12, 14, 16]
    assert len(tried) == 6 * 500


def test_steps_that_suffice_are_told_to_the_room() -> None:
    """Two rows were too many once; a prompt of two tokens takes two steps."""
    raised = [OutOfMemory("out of memory")]

    def before(active: list[Tokens]) -> None:
        if len(active) == 2 and raised:
            raise raised.pop()

    report = run(EchoEngine(before, rows=2), [Prompt((7, 1))] * 300, rows=2)
    sizes = [rows for rows, _ in report.steps]
    assert sizes[:500] == [1] * 500
    assert sizes[500:] == [2] * (len(sizes) - 500)
    assert len(report.finished) == 298


@pytest.mark.parametrize("message", FULL)
def test_what_says_that_memory_is_full(message: str) -> None:
    @told_out_of_memory
    def fails() -> None:
        raise RuntimeError(message)

    with pytest.raises(OutOfMemory) as raised:
        fails()
    assert str(raised.value) == message


def test_other_errors_stay_what_they_are() -> None:
    @told_out_of_memory
    def fails() -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    with pytest.raises(RuntimeError) as raised:
        fails()
    assert not isinstance(raised.value, OutOfMemory)
