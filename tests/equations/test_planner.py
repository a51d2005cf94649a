"""The plan solves what has a solution by model steps alone, if the model makes no mistake."""

from collections.abc import Callable
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equations import planner, prompt, work
from equations.linear import render
from equations.parser import parse_question
from equations.planner import Planned
from equations.steps import Step
from equations.system import Outcome, Product, System, SystemEquation
from equations.work import Work

Answer = Callable[[Step], Work]


def exactly(step: Step) -> Work:
    """Return the text of a model that makes no mistake."""
    return work.read(work.write(step.equation, Random(0), divide=step.divide))


def drive(
    system: System, asked: str | None, answer: Answer = exactly
) -> tuple[Planned, list[list[Step]]]:
    """The outcome, and the steps of each round."""
    planning = planner.plan(system, asked)
    rounds = []
    try:
        steps = next(planning)
        while True:
            rounds.append(steps)
            steps = planning.send([answer(step) for step in steps])
    except StopIteration as end:
        return end.value, rounds


def ask(question: str, answer: Answer = exactly) -> tuple[Planned, list[list[Step]]]:
    read = parse_question(question)
    return drive(read.system, read.asked, answer)


def test_an_elimination_is_one_question_with_products() -> None:
    planned, rounds = ask("Solve 2*x + 3*y = 8, 5*x - 7*y = -9 for x.")
    ((step,),) = rounds
    assert render(step.equation) == "-2*7*x - 3*5*x = -7*8 + 3*9"
    assert planned.values == {"x": 1}
    assert planned.lines == ["-29*x = -29", "x = 1"]


def test_net_sums_are_asked_for_two_at_a_time_and_all_at_once() -> None:
    planned, rounds = ask("Solve 2*x + 3*y + x = 8 - 1, 5*x - 7*y = -9 + y for x.")
    sums, elimination = rounds
    assert [step.divide for step in sums] == [False, False]
    assert [step.divide for step in elimination] == [True]
    assert planned.lines[:2] == ["3*x + 3*y = 7", "5*x - 8*y = -9"]
    assert planned.values == {"x": Fraction(29, 39)}


def test_values_are_put_into_later_sentences() -> None:
    planned, rounds = ask(
        "Suppose 4*g + 25 = z*k + 9, 20 = 4*g. Suppose 2*z = 8. Solve -6*m + k = -3*m for m."
    )
    assert planned.values == {"z": 4, "g": 5, "k": 9, "m": 3}
    assert len(rounds) == 3  # z and g at once


def test_a_fraction_is_put_in_as_a_product_of_every_term() -> None:
    planned, rounds = ask("x + y = 1, 3x = 1")
    assert planned.values == {"x": Fraction(1, 3), "y": Fraction(2, 3)}
    assert [term.multiplier for term in rounds[1][0].equation.left] == [1, 1]
    assert {abs(term.value) for term in rounds[1][0].equation.left} == {1, 3}


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("x + y = 1, 2x + 2y = 2", Outcome.INFINITE),
        ("x + y = 1, x + y = 2", Outcome.NONE),
        ("x + y - x - y = 1, x + y = 2", Outcome.NONE),
    ],
)
def test_a_system_without_one_solution_says_so(question: str, reason: str) -> None:
    read = parse_question(question)
    planned, _ = drive(read.system, None)
    assert planned.reason == reason


@pytest.mark.parametrize(
    ("question", "lines"),
    [
        ("x = 1, x = 2", ["x = 1", "x = 2", "no solution"]),
        ("x = 7, x + y = 5, x - y = 1", ["x = 7", "y = -2", "-y = -6", "y = 6", "no solution"]),
        ("x = 1, x = 1", ["x = 1"]),
        ("x - x = 0, x = 2, y = 1", ["0*x = 0", "x = 2", "y = 1"]),
    ],
)
def test_equations_in_one_variable_are_all_asked(question: str, lines: list[str]) -> None:
    planned, _ = ask(question)
    assert planned.lines == lines
    assert planned.reason == ("no solution" if "no solution" in lines else None)


def test_an_equation_without_what_is_asked_for_is_left_out() -> None:
    planned, rounds = ask("Solve 2*x = 6, 3*y = 6 for x.")
    assert [len(steps) for steps in rounds] == [1]
    assert planned.values == {"x": 3}


def test_a_product_of_unknowns_is_no_question() -> None:
    terms = (Product(1, ("x", "y"), negative=False),)
    planned, rounds = drive(System((SystemEquation(terms, terms),)), "x")
    assert (planned.reason, rounds) == (planner.NONLINEAR, [])


def test_a_product_with_a_variable_that_is_zero_says_nothing_of_the_other() -> None:
    planned, _ = ask("Suppose 2*g = 0. Suppose g*y + z = 3. Solve z*x = 6 for x.")
    assert planned.values == {"g": 0, "z": 3, "x": 2}


@pytest.mark.parametrize(
    ("question", "written"),
    [
        ("Solve 2*x + 3*y + x = 8, 5*x - 7*y = -9 for x.", Work(None, None, None)),
        ("Solve 2*x + 3*y + x = 8, 5*x - 7*y = -9 for x.", Work(3, None, None)),
        ("2*x = 4, 3*y = 3", Work(3, 6, None)),  # sums without their quotient
    ],
)
def test_a_model_that_writes_no_answer_ends_the_plan(question: str, written: Work) -> None:
    planned, _ = ask(question, lambda step: written)
    assert planned.reason == planner.NO_ANSWER
    assert planned.values == {}


def test_a_step_is_judged_by_its_sums_and_its_answer() -> None:
    divided = Step(parse_question("2x = 6").single() or pytest.fail("one equation"))
    assert divided.correct(Work(2, 6, "3"))
    assert not divided.correct(Work(2, 6, "4"))
    assert divided.correct(Work(4, 12, "3"))
    sums = Step(divided.equation, divide=False)
    assert sums.correct(Work(2, 6, None))
    assert not sums.correct(Work(4, 12, "3"))
    assert sums.prompt() == f"{prompt.SUMS} {divided.prompt()}"


numbers = st.integers(-99, 99)


@st.composite
def systems(draw: st.DrawFn) -> tuple[System, dict[str, Fraction]]:
    """Systems of two or three equations in as many variables, with their solution."""
    names = "xyz"[: draw(st.integers(2, 3))]
    values = {name: Fraction(draw(numbers), draw(st.sampled_from([1, 1, 2, 3]))) for name in names}
    equations = []
    for _ in names:
        terms = [
            Product(abs(value), (name,), value < 0)
            for name in names
            for value in draw(st.lists(numbers, min_size=1, max_size=3))
        ]
        total = sum((t.value * values[t.variables[0]] for t in terms), Fraction(0))
        cut = draw(st.integers(0, len(terms)))
        moved = tuple(t._replace(negative=not t.negative) for t in terms[cut:])
        constant = Product(abs(total), (), total < 0)
        equations.append(SystemEquation(tuple(terms[:cut]), (*moved, constant)))
    return System(tuple(equations)), values


@given(systems(), st.booleans())
def test_what_has_one_solution_is_solved(
    drawn: tuple[System, dict[str, Fraction]], every: bool
) -> None:
    """Law: by exact steps the plan finds the values, and every step fits the model's prompt."""
    system, values = drawn
    solutions = system.solve()
    planned, rounds = drive(system, None if every else "x")
    for step in (step for steps in rounds for step in steps):
        step.prompt()
        assert step.correct(exactly(step))
    if solutions.outcome is Outcome.UNIQUE:
        assert planned.reason is None
        assert planned.values["x"] == values["x"]
        assert planned.values.keys() == values.keys() or not every
    assert all(values[name] == value for name, value in planned.values.items()) or (
        solutions.outcome is not Outcome.UNIQUE
    )
