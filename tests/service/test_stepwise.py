"""Systems and composed questions, whose steps a model writes that tests make right or wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from engine.bundle import TOKENIZER, Manifest, load_manifest
from engine.contracts import Answer, Hypothesis, Prompt
from engine.tokens import TextCodec
from equations import work
from equations.parser import SeveralUnknowns
from equations.prompt import SUMS, read_digits
from service.contracts import Answered, Timings
from service.errors import EngineFailed, QuestionTooLong
from service.solving import Fallback, Solution, Solver, Source

EOS = 1
COMPOSED = "Suppose 2*z = 8. Solve z*x + y = 9, x - 2*y = 0 for x."
SUMS_FIRST = "Solve 2*x + 3*y + x = 8 - 1, 5*x - 7*y = -9 + y for x."


class Model:
    """Writes what is right for each prompt, but `wrong` in place of it at first.

    `wrong` maps a prompt's text to the text that comes before any alternative.
    """

    def __init__(self, codec: TextCodec, wrong: dict[str, str] | None = None) -> None:
        self._codec = codec
        self._wrong = wrong or {}
        self.asked: list[str] = []
        self.limits: list[tuple[float, bool]] = []  # of each job: its timeout, and `wait`

    async def submit(self, prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        text = self._codec.decode(prompt.source)
        self.asked.append(text)
        self.limits.append((timeout_s, wait))
        right = self._codec.encode(self._right(text))[:-1]
        if prompt.forced or text not in self._wrong:
            return Answered(_answer(list(right)), Timings(0.001, 0.002))
        first = self._codec.encode(self._wrong[text])[:-1]
        return Answered(_answer(list(first), list(right)), Timings(0.001, 0.002))

    def _right(self, text: str) -> str:
        equation = read_digits(text.removeprefix(f"{SUMS} "))
        return work.write(equation, Random(0), divide=not text.startswith(SUMS))


def _answer(tokens: list[int], runners_up: list[int] | None = None) -> Answer:
    """Return a hypothesis whose runners-up are those given, each as likely; -0.1 a token."""
    count = len(tokens) + 1
    others = [*(runners_up or []), *[EOS] * count][:count]
    return Answer((Hypothesis(tokens, [-0.1] * count, others, [-0.2] * count),))


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return load_manifest(bundle)


@pytest.fixture
def codec(bundle: Path) -> TextCodec:
    return TextCodec(bundle / TOKENIZER)


@pytest.fixture
def ask(manifest: Manifest, codec: TextCodec) -> Callable[..., Solution]:
    def asked(
        question: str,
        model: Model | None = None,
        *,
        max_tries: int = 3,
        fallback: Fallback = Fallback.NONE,
        calibration: tuple[tuple[float, float], ...] = (),
    ) -> Solution:
        calibrated = replace(manifest, calibration=calibration)
        submit = (model or Model(codec)).submit
        solver = Solver(calibrated, codec, submit, max_tries=max_tries)
        return asyncio.run(solver.solve(question, timeout_s=9.0, fallback=fallback))

    return asked


def test_one_variable_of_a_system_is_answered(ask: Callable[..., Solution]) -> None:
    solution = ask(COMPOSED)
    assert (solution.answer, solution.values, solution.variable) == ("2", {"x": "2"}, "x")
    assert (solution.verdict, solution.source, solution.tries) == ("correct", Source.MODEL, 1)
    assert solution.equation == "2*z = 8, x*z + y = 9, x - 2*y = 0"
    assert solution.work == ["2*z = 8", "z = 4", "-9*x = -18", "x = 2"]
    assert solution.timings == Timings(0.002, 0.004)  # two rounds


def test_all_variables_have_values_and_there_is_no_one_answer(
    ask: Callable[..., Solution],
) -> None:
    solution = ask("x + y = 5; x - y = 2")
    assert (solution.answer, solution.variable) == (None, None)
    assert solution.values == {"x": "7/2", "y": "3/2"}
    assert solution.verdict == "correct"


def test_independent_steps_are_written_at_the_same_time(
    ask: Callable[..., Solution], codec: TextCodec
) -> None:
    model = Model(codec)
    solution = ask(SUMS_FIRST, model)
    assert [text.startswith(SUMS) for text in model.asked] == [True, True, False]
    assert solution.timings == Timings(0.002, 0.004)  # three texts in two rounds
    assert solution.work == ["3*x + 3*y = 7", "5*x - 8*y = -9", "-39*x = -29", "x = 29/39"]


def test_only_the_first_steps_are_admitted_by_the_deadline_that_all_share(
    ask: Callable[..., Solution], codec: TextCodec
) -> None:
    model = Model(codec)
    ask(SUMS_FIRST, model)
    assert [wait for _, wait in model.limits] == [False, False, True]
    limits_s = [limit_s for limit_s, _ in model.limits]
    assert limits_s == sorted(limits_s, reverse=True)
    assert 0 < limits_s[-1] < limits_s[0] <= 9.0


ZERO = "x0: q0=0"  # a division that ends at once
FIRST = "L+1x0^0 R+2k0^0"  # x = 2


@pytest.mark.parametrize(
    ("max_tries", "answer", "verdict"), [(1, "1", "wrong"), (3, "-1", "correct")]
)
def test_a_wrong_step_is_tried_again_on_its_own(
    ask: Callable[..., Solution], codec: TextCodec, max_tries: int, answer: str, verdict: str
) -> None:
    model = Model(codec, {FIRST: ZERO})
    solution = ask("Solve x = 2, x + y = 1 for y.", model, max_tries=max_tries)
    assert (solution.answer, solution.verdict) == (answer, verdict)
    assert solution.tries == max_tries  # of the first step; the second is right at once
    assert len(model.asked) == max_tries + 1


def test_the_exact_fallback_comes_with_neither_work_nor_confidence(
    ask: Callable[..., Solution], codec: TextCodec
) -> None:
    knots = ((-9.0, 0.5), (0.0, 0.5))
    model = Model(codec, {FIRST: ZERO})
    wrong = ask("x = 2, x + y = 1", model, max_tries=1, calibration=knots)
    assert wrong.values == {"x": "0", "y": "1"}
    exact = ask("x = 2, x + y = 1", model, max_tries=1, calibration=knots, fallback=Fallback.EXACT)
    assert (exact.values, exact.source) == ({"x": "2", "y": "-1"}, Source.EXACT)
    assert (wrong.confidence, exact.confidence, exact.work) == (0.25, None, None)
    assert exact.tries == 1


def test_the_confidence_is_that_of_all_steps_together(ask: Callable[..., Solution]) -> None:
    solution = ask(SUMS_FIRST, calibration=((-99.0, 0.9), (0.0, 0.9)))
    assert solution.confidence == pytest.approx(0.9**3)


@pytest.mark.parametrize(
    ("question", "reason", "lines"),
    [
        ("x + y = 1, x + y = 2", "no solution", ["0*y = -1", "no solution"]),
        (
            "x + y = 1, 2x + 2y = 2",
            "infinitely many solutions",
            ["0*y = 0", "infinitely many solutions"],
        ),
        ("x = 1, x = 2", "no solution", ["x = 1", "x = 2", "no solution"]),
        (
            "x + y = 5, x - y = 1, 2x + y = 9",
            "no solution",
            ["2*y = 4", "y = 2", "x = 3", "2*x = 7", "x = 7/2", "no solution"],
        ),
        # The steps end in a value that cannot be right: the first two equations are not asked.
        ("Solve x = 1, x = 2, y = 3 for y.", "no solution", None),
    ],
)
def test_where_no_value_can_be_right_the_answer_says_so(
    ask: Callable[..., Solution], question: str, reason: str, lines: list[str] | None
) -> None:
    solution = ask(question, calibration=((-99.0, 0.9), (0.0, 0.9)))
    assert (solution.answer, solution.values) == (None, None)
    assert (solution.verdict, solution.reason) == ("unverifiable", reason)
    assert solution.work == lines
    assert (solution.confidence is None) == (lines is None)


def test_a_variable_that_is_determined_has_a_value_where_others_are_not(
    ask: Callable[..., Solution],
) -> None:
    solution = ask("Solve 3*z = 6, x + y = 1, 2*x + 2*y = 2 for z.")
    assert (solution.answer, solution.verdict) == ("2", "correct")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [("x0: k0: k1~0^0 k#1e0", "the model found no solution"), ("x0:", "the model gave no answer")],
)
def test_a_wrong_end_of_the_steps_is_a_wrong_answer(
    ask: Callable[..., Solution], codec: TextCodec, wrong: str, reason: str
) -> None:
    solution = ask("x = 2, x + y = 1", Model(codec, {FIRST: wrong}), max_tries=1)
    assert (solution.values, solution.verdict) == (None, "wrong")
    assert solution.reason == reason


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("1234567890123x = 1, x + y = 1", "a number of 13 digits, over 12"),
        ("1234567x + 7654321y = 1, 7654321x - 1234567y = 3", "a product of 7 and 8 digits"),
    ],
)
def test_steps_that_the_model_cannot_read_are_refused_before_any_is_asked(
    ask: Callable[..., Solution], codec: TextCodec, question: str, message: str
) -> None:
    model = Model(codec)
    with pytest.raises(QuestionTooLong, match=message):
        ask(question, model)
    assert not model.asked
    exact = ask(question, model, fallback=Fallback.EXACT)
    assert (exact.verdict, exact.source, exact.confidence) == ("correct", Source.EXACT, None)


def test_a_step_that_a_wrong_one_made_too_long_is_not_asked(
    ask: Callable[..., Solution], codec: TextCodec
) -> None:
    huge = "x0: x1~0^0 k0: " + " ".join(f"k4~0^{place}" for place in range(13)) + " q11=9 q0=0"
    model = Model(codec, {FIRST: huge})
    solution = ask("x = 2, 98765*x + y = 1", model, max_tries=1)
    assert (solution.verdict, solution.reason) == ("wrong", "the model gave no answer")
    assert len(model.asked) == 1


def test_a_model_without_the_words_for_sums_solves_no_systems(
    manifest: Manifest, tmp_path: Path, bundle: Path
) -> None:
    older = (bundle / TOKENIZER).read_text().replace(f'"{SUMS}"', '"other"')
    (tmp_path / TOKENIZER).write_text(older)
    codec = TextCodec(tmp_path / TOKENIZER)
    solver = Solver(manifest, codec, Model(codec).submit, max_tries=1)
    with pytest.raises(SeveralUnknowns, match="a system: 2 equations in x and y"):
        asyncio.run(solver.solve("x + y = 5; x - y = 1", timeout_s=9.0))


def test_a_step_that_fails_ends_the_others(manifest: Manifest, codec: TextCodec) -> None:
    ended = []

    async def submit(prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        if codec.decode(prompt.source).count("x") % 2:  # one of the two
            await asyncio.sleep(0)
            raise EngineFailed
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(prompt)
        raise AssertionError("it waits for ever")

    solver = Solver(manifest, codec, submit, max_tries=1)
    with pytest.raises(EngineFailed):
        asyncio.run(solver.solve("3x = 6, 2y + y = 4, x + y = z", timeout_s=9.0))
    assert len(ended) == 1


def test_a_client_that_disconnects_ends_every_step(manifest: Manifest, codec: TextCodec) -> None:
    waiting: list[Prompt] = []
    ended: list[Prompt] = []

    async def submit(prompt: Prompt, timeout_s: float, *, wait: bool = False) -> Answered:
        waiting.append(prompt)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(prompt)
        raise AssertionError("it waits for ever")

    async def main() -> None:
        solver = Solver(manifest, codec, submit, max_tries=3)
        task = asyncio.create_task(solver.solve(SUMS_FIRST, timeout_s=9.0))
        while len(waiting) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(ended) == 2
