"""The room against real data: 2,000 questions from the generator."""

from random import Random

from equations import prompt, work
from equations.linear import render_question
from equations.parser import parse
from equations.verify import Verdict, verify
from training.data import Problem


def test_every_question_parses_renders_back_and_is_judged(problems: list[Problem]) -> None:
    assert len(problems) == 2_000
    for problem in problems:
        equation = parse(problem.question)
        assert render_question(equation) == problem.question
        assert verify(equation, problem.answer).verdict is Verdict.CORRECT
        assert verify(equation, str(int(problem.answer) + 1)).verdict is Verdict.WRONG


def test_every_question_has_a_prompt_and_a_worked_form(problems: list[Problem]) -> None:
    for problem in problems:
        equation = parse(problem.question)
        read = prompt.read_digits(prompt.write_digits(equation))
        assert read.net() == equation.net()
        assert work.read(work.write(equation, Random(0))).answer == problem.answer
