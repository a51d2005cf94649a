"""Systems answered step by step, by a model that is right, and by one that is not at first."""

import asyncio
from pathlib import Path
from random import Random

import pytest

from engine.contracts import Hypothesis, Prompt
from engine.tokens import TextCodec
from equations import work
from equations.prompt import SUMS, read_digits
from training.data import Problem
from training.stepwise import Stepwise
from training.vocabulary import EOS_ID, Vocabulary

QUESTION = Problem("Suppose 2*z = 8. Solve z*x + y = 9, x - 2*y = 0 for x.", "2")


@pytest.fixture
def codec(tmp_path: Path) -> TextCodec:
    Vocabulary.digits().tokenizer().save(str(tmp_path / "tokenizer.json"))
    return TextCodec(tmp_path / "tokenizer.json")


def right(codec: TextCodec, prompt: Prompt) -> list[int]:
    asked = codec.decode(prompt.source)
    equation = read_digits(asked.removeprefix(f"{SUMS} "))
    text = work.write(equation, Random(0), divide=not asked.startswith(SUMS))
    return list(codec.encode(text)[:-1])


def written(tokens: list[int], runners_up: list[int] | None = None) -> Hypothesis:
    count = len(tokens) + 1
    return Hypothesis(tokens, [-0.1] * count, runners_up or [EOS_ID] * count, [-2.0] * count)


def test_a_right_model_answers(codec: TextCodec) -> None:
    async def ask(prompt: Prompt) -> Hypothesis:
        return written(right(codec, prompt))

    solver = Stepwise(codec, EOS_ID, ask)
    assert asyncio.run(solver.solve(QUESTION)) == QUESTION.answer
    assert len(solver.texts) == 2
    assert solver.logprob == pytest.approx(
        -0.1 * sum(len(text.split()) + 1 for text in solver.texts)
    )


@pytest.mark.parametrize(("tries", "answer"), [(1, "0"), (2, "2")])
def test_a_wrong_step_is_tried_again(codec: TextCodec, tries: int, answer: str) -> None:
    """The first answer is cut to a wrong quotient, whose runner-up is the right token."""
    zero = codec.encode("q0=0")[0]

    async def ask(prompt: Prompt) -> Hypothesis:
        tokens = right(codec, prompt)
        if prompt.forced:
            return written(tokens)
        return written([*tokens[:-1], zero], [EOS_ID] * (len(tokens) - 1) + [tokens[-1], EOS_ID])

    problem = Problem("Solve x = 2, x + y = 1 for x.", "2")
    assert asyncio.run(Stepwise(codec, EOS_ID, ask, tries).solve(problem)) == answer


def test_what_does_not_fit_the_prompt_has_no_answer(codec: TextCodec) -> None:
    async def ask(prompt: Prompt) -> Hypothesis:
        raise AssertionError("nothing to ask")

    problem = Problem(f"Solve x + y = {10**13}, y = {10**13} for y.", str(10**13))
    assert asyncio.run(Stepwise(codec, EOS_ID, ask).solve(problem)) is None
