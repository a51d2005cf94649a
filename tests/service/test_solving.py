"""The second try and the confidence, with a model that tests write themselves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.bundle import TOKENIZER, BundleError, Manifest, load_manifest
from engine.contracts import Answer, Hypothesis, Prompt
from engine.echo import hypothesis
from engine.tokens import TextCodec
from service.alternatives import Alternatives
from service.contracts import Answered, Timings
from service.errors import Overloaded
from service.solving import Fallback, Solution, Solver, format_of
from tests.fakes import answer_ids, doubtful_answer

EOS = 1
margins = st.lists(st.integers(0, 10), min_size=1, max_size=20)


class Doubtful:
    """Answers 3x = 12 with 5 at first, and with what it is told to after each runner-up."""

    def __init__(self, codec: TextCodec, second: str | None) -> None:
        self._codec = codec
        self._second = second
        self.prompts: list[Prompt] = []

    async def submit(self, prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        self.prompts.append(prompt)
        if not prompt.forced:
            return Answered(Answer((doubtful_answer(self._codec),)), Timings(0.001, 0.002))
        if self._second is None:
            raise Overloaded(1.0)
        second = hypothesis(answer_ids(self._codec, self._second))
        return Answered(Answer((second,)), Timings(0.003, 0.004))


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return load_manifest(bundle)


@pytest.fixture
def codec(bundle: Path) -> TextCodec:
    return TextCodec(bundle / TOKENIZER)


def solve(
    manifest: Manifest, codec: TextCodec, engine: Doubtful, question: str = "3x = 12", **how: int
) -> Solution:
    solver = Solver(manifest, codec, engine.submit, max_tries=how.get("max_tries", 3))
    return asyncio.run(solver.solve(question, timeout_s=9.0))


def test_a_wrong_answer_is_mended_by_the_likeliest_alternative(
    manifest: Manifest, codec: TextCodec
) -> None:
    engine = Doubtful(codec, "x0: q0=4")
    solution = solve(manifest, codec, engine)
    assert (solution.answer, solution.verdict, solution.source) == ("4", "correct", "model")
    assert solution.tries == 3
    assert solution.timings == Timings(0.004, 0.006)
    # Where it was least sure first: the quotient, then the answer; never a doubtless place.
    forced = [codec.decode(prompt.forced) for prompt in engine.prompts]
    assert forced == ["", "x0: q0=1", "x0: q1=0 q0=4"]


@pytest.mark.parametrize("second", ["x0: q0=6", None])
def test_without_a_correct_alternative_the_first_answer_stays(
    manifest: Manifest, codec: TextCodec, second: str | None
) -> None:
    solution = solve(manifest, codec, Doubtful(codec, second))
    assert (solution.answer, solution.verdict) == ("5", "wrong")
    assert solution.tries == (3 if second else 1)


@pytest.mark.parametrize(
    ("question", "max_tries"),
    [
        ("3x = 12", 1),  # not wanted
        ("3x = 15", 3),  # right at once
        ("x = x + 1", 3),  # unverifiable
    ],
)
def test_a_correct_first_answer_has_no_second_try(
    manifest: Manifest, codec: TextCodec, question: str, max_tries: int
) -> None:
    engine = Doubtful(codec, "x0: q0=4")
    assert solve(manifest, codec, engine, question, max_tries=max_tries).tries == 1
    assert len(engine.prompts) == 1


def test_the_exact_fallback_comes_after_the_second_try(
    manifest: Manifest, codec: TextCodec
) -> None:
    solver = Solver(manifest, codec, Doubtful(codec, "q0=6").submit, max_tries=2)
    solution = asyncio.run(solver.solve("3x = 12", timeout_s=9.0, fallback=Fallback.EXACT))
    assert (solution.answer, solution.source, solution.tries) == ("4", "exact", 2)


def test_an_exact_answer_does_not_have_the_confidence_of_the_one_thrown_away(
    manifest: Manifest, codec: TextCodec
) -> None:
    calibrated = replace(manifest, calibration=((-9.0, 0.9), (0.0, 0.9)))
    solver = Solver(calibrated, codec, Doubtful(codec, None).submit, max_tries=1)
    wrong = asyncio.run(solver.solve("3x = 12", timeout_s=9.0))
    exact = asyncio.run(solver.solve("3x = 12", timeout_s=9.0, fallback=Fallback.EXACT))
    assert (wrong.answer, wrong.confidence) == ("5", 0.9)
    assert (exact.answer, exact.confidence) == ("4", None)


def test_where_nothing_can_be_right_a_number_is_no_answer(
    manifest: Manifest, codec: TextCodec
) -> None:
    """The model writes 5 for every equation, also for `x = x + 1`."""
    calibrated = replace(manifest, calibration=((-9.0, 0.9), (0.0, 0.9)))
    solution = solve(calibrated, codec, Doubtful(codec, None), "x = x + 1")
    assert (solution.verdict, solution.reason) == ("unverifiable", "no solution")
    assert (solution.answer, solution.values) == (None, None)
    assert (solution.work, solution.confidence) == (None, None)


def test_confidence_is_read_off_the_bundles_calibration(
    manifest: Manifest, codec: TextCodec
) -> None:
    engine = Doubtful(codec, None)  # its first answer has a log-probability of -0.72
    assert solve(manifest, codec, engine).confidence is None
    calibrated = replace(manifest, calibration=((-1.72, 0.5), (0.28, 0.9)))
    assert solve(calibrated, codec, engine).confidence == pytest.approx(0.7)


def answer(margins: list[int], start: int = 2) -> Hypothesis:
    """Return a hypothesis of distinct tokens with a runner-up this far behind at each position."""
    places = range(len(margins))
    return Hypothesis(
        tokens=[start + 2 * place for place in places][:-1],
        logprobs=[-1.0] * len(margins),
        runners_up=[start + 2 * place + 1 for place in places],
        runner_up_logprobs=[-1.0 - margin for margin in margins],
    )


@given(margins, st.integers(0, 8))
def test_deviations_come_in_the_order_of_doubt(gaps: list[int], most: int) -> None:
    first = answer(gaps)
    search = Alternatives((7, EOS), eos_id=EOS)
    search.add(Prompt((7, EOS)), first)
    prompts = search.take(most)
    for prompt in prompts:
        place = len(prompt.forced) - 1
        assert prompt.forced[:-1] == tuple(first.tokens[:place])
        assert prompt.forced[-1] == first.runners_up[place]
    chosen = [gaps[len(prompt.forced) - 1] for prompt in prompts]
    assert chosen == sorted(gaps)[:most]
    rest = search.take(99)
    assert len({prompt.forced for prompt in (*prompts, *rest)}) == len(gaps)


def test_an_alternative_is_deviated_from_only_where_it_was_free() -> None:
    search = Alternatives((7, EOS), eos_id=EOS)
    search.add(Prompt((7, EOS)), answer([5, 1, 9]))
    (deviation,) = search.take(1)
    assert deviation.forced == (2, 5)
    search.add(deviation, answer([0, 0, 3], start=20))  # free at its third place alone
    forced = [prompt.forced for prompt in search.take(99)]
    assert forced == [(20, 22, 25), (3,), (2, 4, 7)]


def test_to_end_early_is_no_alternative() -> None:
    first = Hypothesis([5, 6], [-0.1] * 3, [EOS, 8, 9], [-0.2, -0.3, -0.4])
    search = Alternatives((7, EOS), eos_id=EOS)
    search.add(Prompt((7, EOS)), first)
    assert [prompt.forced for prompt in search.take(9)] == [(5, 8), (5, 6, 9)]


@pytest.mark.parametrize("name", ["prompt_format", "target_format"])
def test_a_bundle_of_an_unknown_format_is_refused(bundle: Path, name: str) -> None:
    change: dict[str, Any] = {name: "poem"}
    manifest = replace(load_manifest(bundle), **change)
    with pytest.raises(BundleError, match=f"unknown {name.replace('_', ' ')} 'poem'"):
        format_of(manifest)
