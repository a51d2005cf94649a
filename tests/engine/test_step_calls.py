"""Captured calls on the processor: what a CUDA graph repeats is the same each time.

No GPU is needed to see that every call of one graph id has the same shapes and addresses, and that
rounding the rows up changes no answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from engine.bundle import CANDIDATES, DECODER, DRAW, ENCODER, Limits, load_manifest
from engine.contracts import Decoding, Prompt
from engine.generate import generate
from engine.kv_slots import KVSlots
from engine.ort import OrtEngine, OrtModel
from engine.sessions import open_sessions
from engine.step_calls import StepCalls, rounded

ROWS = 6
Bound = tuple[object, ...]


class Binding:
    """A binding that keeps what is bound."""

    def __init__(self, real: ort.IOBinding) -> None:
        self.real = real
        self.bound: set[Bound] = set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        def bind(*what: Any) -> None:
            self.bound.add((name, *(tuple(one) if isinstance(one, list) else one for one in what)))
            getattr(self.real, name)(*what)

        return bind


class Recording:
    """A decoder that keeps what each of its calls was bound to, by the id of its CUDA graph."""

    def __init__(self, real: ort.InferenceSession) -> None:
        self._real = real
        self.calls: dict[str, list[frozenset[Bound]]] = defaultdict(list)

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def get_outputs(self) -> Any:
        return self._real.get_outputs()

    def io_binding(self) -> Binding:
        return Binding(self._real.io_binding())

    def run_with_iobinding(self, binding: Binding, options: ort.RunOptions) -> None:
        graph = options.get_run_config_entry("gpu_graph_id")
        self.calls[graph].append(frozenset(binding.bound))
        self._real.run_with_iobinding(binding.real, options)


class CapturedModel(OrtModel):
    """A model as on a GPU with `cuda-graphs`, on the processor by the emulated kernels."""

    def __init__(self, folder: Path, library: Path) -> None:
        manifest = load_manifest(folder)
        self.architecture, self.limits = manifest.architecture, manifest.limits
        self._folder = folder
        names = (ENCODER, DECODER, CANDIDATES, DRAW)
        self.provider, (self.encoder, decoder, *self.choosing) = open_sessions(
            [folder / name for name in names], threads=1, provider="cpu", kernels=library
        )
        self.decoder = Recording(decoder)
        self.device, self.captured = "cpu", True


@pytest.fixture(scope="session")
def captured(writer: Path, emulated_cuda: Path) -> CapturedModel:
    return CapturedModel(writer / "bundle", emulated_cuda)


def open_plain(writer: Path) -> OrtModel:
    """Return the same model with the definitions of its operators."""
    bundle = writer / "bundle"
    return OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu", kernels="none")


def with_limits(model: OrtModel, limits: Limits) -> OrtModel:
    changed = copy(model)
    changed.limits = limits
    return changed


def prompts() -> Iterator[Prompt]:
    """Return prompts of many lengths and settings, more than there are rows."""
    beams = Decoding(num_beams=3, num_return_sequences=2)
    drawn = Decoding(do_sample=True, seed=5, temperature=0.8, num_return_sequences=2)
    for length in (1, 30, 2, 17, 3, 5, 9, 4, 8, 16, 7):
        source = tuple(5 + (length * place) % 90 for place in range(length))
        yield Prompt((*source, 1))
        if length in (2, 9):
            yield Prompt((*source, 1), decoding=beams)
            yield Prompt((*source, 1), decoding=drawn)


def test_answers_are_those_of_the_definitions(captured: CapturedModel, writer: Path) -> None:
    """Rows join and leave while others go on, and free rows are part of a call."""
    expected = generate(OrtEngine(open_plain(writer), rows=ROWS), list(prompts()))
    found = generate(OrtEngine(captured, rows=ROWS), list(prompts()))
    assert [[one.tokens for one in answer.hypotheses] for answer in found] == [
        [one.tokens for one in answer.hypotheses] for answer in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert one.best.logprobs == pytest.approx(other.best.logprobs, abs=1e-4)


def test_calls_of_a_graph_have_the_same_shapes_and_addresses(captured: CapturedModel) -> None:
    captured.decoder.calls.clear()
    engine = OrtEngine(captured, rows=ROWS)
    for _ in range(2):
        generate(engine, list(prompts()))
    for rows in range(1, ROWS + 1):
        generate(engine, [Prompt((7, 8, 1))] * rows)
    calls = captured.decoder.calls
    assert sorted(rows_of(bound) for bound in calls.values()) == [1, 2, 4, ROWS]
    for bound in calls.values():
        assert len(bound) > 2
        assert len(set(bound)) == 1
        names = {what[1] for what in bound[0]}
        assert {
            "token", "past", "sources", "source_lengths", "best", "logprobs", "logits", "key.0",
        } <= names  # fmt: skip


def rows_of(calls: list[frozenset[Bound]]) -> int:
    """Return the rows of the calls of a graph, by the shape of their tokens."""
    (shape,) = {what[-2] for call in calls for what in call if what[1] == "token"}
    assert isinstance(shape, tuple)
    return int(shape[0])


def test_engines_of_one_model_have_graphs_of_their_own(captured: CapturedModel) -> None:
    """A session replays a graph that it has, whatever a call binds: at addresses of another."""
    captured.decoder.calls.clear()
    for rows in (4, 2, 4):
        generate(OrtEngine(captured, rows=rows), [Prompt((7, 8, 1))] * 2)
    calls = captured.decoder.calls
    assert [rows_of(bound) for bound in calls.values()] == [2, 2, 2]
    assert all(len(set(bound)) == 1 for bound in calls.values())


class Decoder:
    """A decoder that keeps what is in `arrays` when it is called, and gives numbers of its own."""

    def __init__(self, arrays: dict[str, np.ndarray], best: np.ndarray) -> None:
        self._arrays, self._best = arrays, best
        self.read: list[dict[str, list[int]]] = []

    def io_binding(self) -> Binding:
        return Binding(SimpleNamespace(bind_input=lambda *_: None, bind_output=lambda *_: None))

    def run_with_iobinding(self, binding: Binding, options: ort.RunOptions) -> None:
        self.read.append({name: array.tolist() for name, array in self._arrays.items()})
        self._best[:] = 7


def test_rows_in_excess_read_numbers_that_are_valid_for_any_row() -> None:
    by_row = {"past": np.array([3, 9, 9, 9, 9]), "sources": np.array([1, 1, 9, 9, 9])}
    by_source = {"source_lengths": np.array([4, 8, 1, 1, 1])}
    best = np.zeros(5, np.int64)
    decoder = Decoder(by_row | by_source, best)
    bound: list[tuple[int, int]] = []
    calls = StepCalls(
        decoder, lambda _, rows, sources: bound.append((rows, sources)), inputs=by_row,
        source_inputs=by_source, outputs={"best": best}, idle=("past", "sources"), device="cpu",
        captured=True,
    )  # fmt: skip
    calls.run(3, 2)
    expected = {"past": [3, 9, 9, 0, 9], "sources": [1, 1, 9, 0, 9]}
    assert decoder.read == [expected | {"source_lengths": [4, 8, 1, 1, 1]}]
    assert best.tolist() == [7] * 5
    calls.run(2, 2)
    assert decoder.read[1] == decoder.read[0]
    assert bound == [(4, 4), (2, 2)]


def test_a_long_answer_stays_in_the_columns_that_its_cache_has(
    captured: CapturedModel, writer: Path
) -> None:
    """A cache that is not captured begins with 32 columns and grows."""
    forced = tuple(5 + place % 90 for place in range(40))
    limits = replace(captured.limits, max_new_tokens=48)
    prompt = Prompt((7, 8, 1), forced, Decoding(max_new_tokens=4))
    captured.decoder.calls.clear()
    found = generate(OrtEngine(with_limits(captured, limits), rows=1), [prompt])
    (calls,) = captured.decoder.calls.values()
    assert len(calls) > 40
    assert len(set(calls)) == 1
    plain = open_plain(writer)
    expected = generate(OrtEngine(with_limits(plain, limits), rows=1), [prompt])
    assert found[0].best.tokens == expected[0].best.tokens


@pytest.mark.parametrize(
    ("active", "capacity", "rows"), [(1, 8, 1), (2, 8, 2), (3, 8, 4), (5, 8, 8), (5, 6, 6)]
)
def test_rows_are_rounded_to_a_power_of_two(active: int, capacity: int, rows: int) -> None:
    assert rounded(active, capacity) == rows


class Counting:
    """A decoder that only takes bindings."""

    def io_binding(self) -> SimpleNamespace:
        def nothing(*_: object) -> None:
            pass

        return SimpleNamespace(bind_ortvalue_input=nothing, bind_ortvalue_output=nothing,
                               bind_input=nothing, bind_output=nothing)  # fmt: skip

    def run_with_iobinding(self, binding: SimpleNamespace) -> None:
        pass


def test_few_bindings_are_made_for_any_number_of_sources() -> None:
    bound: list[tuple[int, int]] = []
    calls = StepCalls(
        Counting(),
        lambda _, rows, sources: bound.append((rows, sources)),
        inputs={"past": np.zeros(16, np.int32)},
        source_inputs={"source_lengths": np.ones(16, np.int32)},
        outputs={"best": np.zeros(16, np.int64)},
        idle=(),
        device="cpu",
        captured=False,
    )
    for sources in (1, 2, 3, 4, 5, 8, 9, 12):
        calls.run(12, sources)
    assert bound == [(12, 1), (12, 2), (12, 4), (12, 8), (12, 12)]


def test_a_source_beyond_the_fixed_slots_is_an_error(captured: CapturedModel) -> None:
    slots = KVSlots(
        captured.architecture, captured.decoder, capacity=2, columns=4, decode=captured.decode,
        captured_sources=16,
    )  # fmt: skip
    slots.make_room(16)
    with pytest.raises(RuntimeError, match="have moved: this is a bug"):
        slots.make_room(17)
