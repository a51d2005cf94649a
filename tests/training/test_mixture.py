"""The training questions of the small model have the forms that they claim, and hold together."""

import random
from collections.abc import Callable
from random import Random
from statistics import mean

import numpy as np
import pytest

from equations import prompt, work
from equations.linear import Equation
from equations.parser import parse
from training import forms, generator, linear_systems, mixture
from training.generator import Pair


def test_every_question_can_be_written_and_read_back() -> None:
    chance, written = Random(1), 0
    for _ in range(1_000):
        question = mixture.sample(chance)
        try:
            source = prompt.write_digits(question.equation)
            text = work.write(question.equation, chance, divide=question.divide)
        except ValueError:
            continue
        written += 1
        net = question.equation.net()
        assert prompt.read_digits(source).net() == net
        read = work.read(text)
        assert (read.coefficient, read.constant) == (net.coefficient, -net.constant)
    assert written > 980


def test_the_fast_sampler_has_the_generators_distribution() -> None:
    """Means over 1,500 questions of entropy 8 agree to within their scatter."""

    def figures(equations: list[Equation]) -> list[float]:
        terms = [[t for t in (*e.left, *e.right) if t.size] for e in equations]
        return [
            mean(map(len, terms)),
            mean(sum(t.is_coefficient for t in some) for some in terms),
            mean(len(str(t.size)) for some in terms for t in some),
            mean(len(str(abs(e.solution() or 0))) for e in equations),
        ]

    random.seed(0)
    np.random.seed(0)
    sample = generator.dataset(8.0, 8.0)
    chance = Random(0)
    slow = figures([parse(sample()[0]) for _ in range(1_500)])
    fast = figures([linear_systems.linear_1d(8.0, chance) for _ in range(1_500)])
    assert fast == pytest.approx(slow, rel=0.05)


def test_two_equations_have_the_solution_they_were_made_of() -> None:
    chance = Random(2)
    for _ in range(200):
        rows = linear_systems.linear_system([3, -4], 8.0, chance)
        for row in rows:
            total = 0
            for m in row:
                value = (-m.value if m.negative else m.value) * (1 if m.on_left else -1)
                total += value * (
                    1 if m.variable == linear_systems.CONSTANT else (3, -4)[m.variable]
                )
            assert total == 0


@pytest.mark.parametrize(
    "make", [forms.fractions, forms.decimals, forms.large, forms.terms, forms.textbook]
)
def test_forms_have_their_answers(make: Callable[[], Callable[[], Pair]]) -> None:
    random.seed(3)
    sample = make()
    for _ in range(100):
        question, answer = sample()
        assert question.startswith("Solve ")
        equation = parse(question)
        assert str(equation.solution()) == answer
        prompt.write_digits(equation.with_integers())
