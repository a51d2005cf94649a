"""Beams and samples of one text: the rows that they take, and the choice among continuations."""

from __future__ import annotations

import math
from collections.abc import Hashable
from copy import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.adjustments import Adjusting
from engine.bundle import CANDIDATES, DRAW
from engine.choosing import Chooser, Ranking, Selection
from engine.contracts import Answer, Decoding, Prompt
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.paths import Likeliest, Task
from engine.samples import IndependentRows
from engine.sessions import open_sessions

SOURCE = (20, 30, 40, 1)
LONG = Decoding(num_beams=4, min_new_tokens=5, max_new_tokens=6)
SAMPLES = Decoding(
    do_sample=True, seed=3, temperature=3.0, num_return_sequences=4, min_new_tokens=5,
    max_new_tokens=6,
)  # fmt: skip
each_kind = pytest.mark.parametrize("decoding", [LONG, SAMPLES], ids=["beams", "samples"])
Sessions = tuple[ort.InferenceSession, ort.InferenceSession]
_TOKENS = 20


class Watched:
    """A decoder that keeps how many rows each of its calls had."""

    def __init__(self, real: ort.InferenceSession) -> None:
        self._real = real
        self._rows: dict[int, int] = {}  # by the identity of a binding
        self.rows: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def io_binding(self) -> SimpleNamespace:
        real = self._real.io_binding()

        def bind_input(name: str, value: ort.OrtValue) -> None:
            if name == "token":
                binding.rows = value.shape()[0]
            real.bind_ortvalue_input(name, value)

        binding = SimpleNamespace(
            real=real,
            bind_ortvalue_input=bind_input,
            bind_ortvalue_output=real.bind_ortvalue_output,
            bind_input=real.bind_input,
            bind_output=real.bind_output,
        )
        return binding

    def run_with_iobinding(self, binding: SimpleNamespace) -> None:
        self.rows.append(binding.rows)
        self._real.run_with_iobinding(binding.real)


@pytest.fixture
def watched(writer_engine: OrtModel) -> OrtModel:
    model = copy(writer_engine)
    model.decoder = Watched(model.decoder)
    return model


@each_kind
@pytest.mark.parametrize("forced", [(), (50, 60)], ids=["free", "forced"])
def test_one_row_is_decoded_until_they_differ(
    watched: OrtModel, decoding: Decoding, forced: tuple[int, ...]
) -> None:
    engine = OrtEngine(watched, rows=8)
    generate(engine, [Prompt(SOURCE, forced, decoding)] * 2)
    alike = len(forced) + 1
    assert watched.decoder.rows == [2] * alike + [8] * 5
    assert engine.active == 0


@each_kind
def test_rows_that_they_will_need_are_taken(writer_engine: OrtModel, decoding: Decoding) -> None:
    engine = OrtEngine(writer_engine, rows=6)
    engine.join({"several": Prompt(SOURCE, (), decoding)})
    assert engine.active == 4
    with pytest.raises(ValueError, match="4 rows for 2 free ones"):
        engine.join({"more": Prompt(SOURCE, (), decoding)})
    engine.step()
    assert engine.active == 4
    engine.join({"greedy": Prompt(SOURCE), "other": Prompt(SOURCE)})
    assert engine.active == 6
    engine.leave(["several"])
    assert engine.active == 2


@each_kind
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_rows_are_free_after_their_prompt_has_left(
    writer_engine: OrtModel, decoding: Decoding, steps: int
) -> None:
    engine = OrtEngine(writer_engine, rows=4)
    alone = generate(engine, [Prompt(SOURCE, (), decoding)])
    engine.join({"first": Prompt((60, 70, 1), (), decoding)})
    for _ in range(steps):
        engine.step()
    engine.leave(["first"])
    assert engine.active == 0
    assert generate(engine, [Prompt(SOURCE, (), decoding)]) == alone
    engine.join({"second": Prompt(SOURCE, (), decoding)})
    engine.clear()
    assert engine.active == 0


def test_beams_that_end_at_their_first_choice_free_all_rows(writer_engine: OrtModel) -> None:
    short = Prompt(SOURCE, (), Decoding(num_beams=4, max_new_tokens=1, num_return_sequences=4))
    engine = OrtEngine(writer_engine, rows=4)
    engine.join({"short": short})
    done: dict[Hashable, Answer] = engine.step()
    assert [len(one.tokens) for one in done["short"].hypotheses] == [1] * 4
    assert engine.active == 0


def test_rows_of_samples_that_end_at_their_first_choice_are_free(watched: OrtModel) -> None:
    active = []
    for seed in range(8):
        decoding = Decoding(
            do_sample=True, seed=seed, num_return_sequences=4, temperature=20.0,
            logit_bias=((1, 80.0),),
        )  # fmt: skip
        engine = OrtEngine(watched, rows=4)
        engine.join({"samples": Prompt(SOURCE, (), decoding)})
        engine.step()
        active.append(engine.active)
        engine.step()  # with the rows that are left, if any
        assert active[-1] in (0, watched.decoder.rows[-1])
    assert {2, 3} <= set(active)


# -- the choice among tokens and continuations -----------------------------------------------------


@pytest.fixture(scope="module")
def sessions(writer: Path) -> Sessions:
    names = [writer / "bundle" / name for name in (CANDIDATES, DRAW)]
    _, (candidates, draw) = open_sessions(names, threads=1, provider="cpu", kernels=None)
    return candidates, draw


class Counted:
    """A graph of candidates that keeps the rows and the `count` of each of its calls."""

    def __init__(self, real: ort.InferenceSession) -> None:
        self._real = real
        self.calls: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def io_binding(self) -> SimpleNamespace:
        real = self._real.io_binding()
        given: dict[str, np.ndarray] = {}

        def bind_cpu_input(name: str, value: np.ndarray) -> None:
            given[name] = value
            real.bind_cpu_input(name, value)

        return SimpleNamespace(
            real=real,
            given=given,
            bind_cpu_input=bind_cpu_input,
            bind_ortvalue_input=real.bind_ortvalue_input,
            bind_output=real.bind_output,
            copy_outputs_to_cpu=real.copy_outputs_to_cpu,
        )

    def run_with_iobinding(self, binding: SimpleNamespace) -> None:
        self.calls.append((len(binding.given["rows"]), int(binding.given["count"][0])))
        self._real.run_with_iobinding(binding.real)


def test_a_row_that_wants_many_candidates_costs_the_others_nothing(sessions: Sessions) -> None:
    """One with a `top_k` of the vocabulary had all rows of its engine put all tokens in order."""
    width = 1000
    logits = np.random.default_rng(3).standard_normal((8, 1, width)).astype(np.float32)
    candidates = Counted(sessions[0])
    chooser = Chooser(
        cast("ort.InferenceSession", candidates), sessions[1],
        ort.OrtValue.ortvalue_from_numpy(logits),
    )  # fmt: skip
    wanted = [64, 999, 1, 64, 5, 1000, 130, 2000]
    rankings = [Ranking(row, {}, count) for row, count in enumerate(wanted)]
    chooser.rank(rankings)
    assert sorted(candidates.calls) == [(1, 130), (3, 1000), (4, 64)]
    for ranking in rankings:
        order = np.argsort(-logits[ranking.row, 0], kind="stable")[: ranking.count]
        assert ranking.tokens == order.tolist()
        assert ranking.scores == logits[ranking.row, 0, order].tolist()
        assert len(ranking.logprobs) == len(ranking.tokens)


def test_samples_of_a_flat_row_put_no_more_tokens_in_order_than_they_need(
    sessions: Sessions,
) -> None:
    """500 of 5,000 are in the nucleus: 64 are too few, and all would take ten times as long."""
    width = 5000
    decoding = Decoding(do_sample=True, seed=1, top_p=0.1, num_return_sequences=3)
    task = Task(
        Prompt(SOURCE, (), decoding), start_id=0, eos_id=1, most=5,
        adjusting=Adjusting(decoding, eos_id=1, width=width), decode=str,
    )  # fmt: skip
    candidates, forks = Counted(sessions[0]), iter((1, 2))
    chooser = Chooser(
        cast("ort.InferenceSession", candidates), sessions[1],
        ort.OrtValue.ortvalue_from_numpy(np.zeros((1, 1, width), np.float32)),
    )  # fmt: skip
    samples = IndependentRows(task, 0, lambda _: next(forks), 5)
    needs = samples.needs()
    chooser.rank(needs.rankings)
    chooser.draw(needs.drawings)
    chosen = samples.choose(chooser, [Likeliest([0, 1], [0.0, 0.0])])
    assert candidates.calls == [(1, 64), (1, 1024)]
    assert len(set(chosen.tokens.values())) == 3
    assert max(chosen.tokens.values()) < 500


_GROUPS = st.lists(
    st.tuples(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(1, 30)),
    min_size=1,
    max_size=5,
)


@hypothesis_settings(max_examples=60)
@given(st.integers(0, 10**9), _GROUPS)
def test_the_best_continuations_of_several_rows(
    sessions: Sessions, seed: int, groups: list[tuple[list[int], int]]
) -> None:
    """Whole numbers, so that many are equal; some tokens are banned, some rows are never asked."""
    random = np.random.default_rng(seed)
    logits = random.integers(-3, 4, (7, 1, _TOKENS)).astype(np.float32)
    chooser = Chooser(*sessions, ort.OrtValue.ortvalue_from_numpy(logits))
    selections = [
        Selection(
            rows,
            [{int(random.integers(_TOKENS)): (-math.inf, 1.0)} for _ in rows],
            random.integers(-3, 1, len(rows)).astype(float).tolist(),
            count,
        )
        for rows, count in groups
    ]
    chooser.select(selections)
    exact = logits[:, 0].astype(np.float64)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    for selection in selections:
        scores = exact[selection.rows] + np.array(selection.so_far)[:, None]
        for row, of_row in enumerate(selection.adjustments):
            scores[row, list(of_row)] = -math.inf
        ranked = sorted(
            (-score, origin, token) for (origin, token), score in np.ndenumerate(scores)
        )
        best = ranked[: selection.count]
        continuations = list(selection.best)
        found = [(one.origin, one.token) for one in continuations]
        assert len(found) == len(set(found)) == min(selection.count, scores.size)
        totals = [one.score for one in continuations]
        np.testing.assert_allclose(totals, [-cost for cost, *_ in best], atol=1e-5)
        np.testing.assert_allclose(totals, [scores[one] for one in found], atol=1e-5)
        logprobs = [one.logprob for one in continuations]
        own = [exact[selection.rows[origin], token] for origin, token in found]
        np.testing.assert_allclose(logprobs, own, atol=1e-5)


def test_of_equal_continuations_those_of_the_earlier_row_come_first(
    sessions: Sessions,
) -> None:
    logits = np.zeros((3, 1, _TOKENS), np.float32)
    chooser = Chooser(*sessions, ort.OrtValue.ortvalue_from_numpy(logits))
    one = Selection([2, 0], [{}, {}], [-1.0, -1.0], 3)
    other = Selection([1, 0, 2], [{}, {}, {}], [-2.0, -1.0, -1.0], 4)
    chooser.select([one, other])
    assert [(best.origin, best.token) for best in one.best] == [(0, 0), (0, 1), (0, 2)]
    assert [(best.origin, best.token) for best in other.best] == [(1, 0), (1, 1), (1, 2), (1, 3)]
