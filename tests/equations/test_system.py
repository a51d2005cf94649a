"""Systems: exact solutions, verdicts and wording."""

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from equations.polynomial import substitute
from equations.reading.question import Question, read
from equations.system import (
    Nonlinear,
    Outcome,
    Product,
    System,
    SystemEquation,
    render_system,
    verify_values,
)
from equations.verify import Verdict

NAMES = ("a", "b", "c", "x")
products = st.builds(
    Product,
    st.fractions(min_value=0, max_value=1000, max_denominator=12),
    st.sampled_from([(), *((name,) for name in NAMES)]),
    st.booleans(),
)
sides = st.lists(products, min_size=1, max_size=4).map(tuple)
with_variable = st.builds(SystemEquation, sides, sides).filter(lambda e: e.variables())
systems = st.lists(with_variable, min_size=1, max_size=4).map(lambda es: System(tuple(es)))
values = st.fractions(min_value=-99, max_value=99, max_denominator=9)


@st.composite
def solved(draw: st.DrawFn) -> tuple[System, dict[str, Fraction]]:
    """A system of as many equations as variables, and values that satisfy it."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    solution = {name: draw(values) for name in names}
    equations: list[SystemEquation] = []
    for _ in names:
        sizes = [draw(st.integers(-9, 9)) for _ in names]
        left = tuple(
            Product(abs(size), (name,), size < 0) for size, name in zip(sizes, names, strict=True)
        )
        total = sum(
            (size * solution[name] for size, name in zip(sizes, names, strict=True)), Fraction()
        )
        equations.append(SystemEquation(left, (Product(abs(total), (), total < 0),)))
    return System(tuple(equations)), solution


@given(solved())
def test_what_satisfies_a_system_is_found_or_among_infinitely_many(
    case: tuple[System, dict[str, Fraction]],
) -> None:
    """A system with a solution has an outcome of one or infinitely many; one is that solution."""
    system, solution = case
    solutions = system.solve()
    assert solutions.outcome is not Outcome.NONE
    assert solutions.values == {name: solution[name] for name in solutions.values}


@given(systems)
def test_determined_values_satisfy_every_equation(system: System) -> None:
    """Put into an equation, the values leave zero, or an equation of free variables."""
    solutions = system.solve()
    if solutions.outcome is Outcome.UNIQUE:
        for equation in system.equations:
            assert not substitute(equation.net(), dict(solutions.values))


@given(systems)
def test_only_the_solution_is_correct(system: System) -> None:
    solutions = system.solve()
    texts = {name: str(value) for name, value in solutions.values.items()}
    if solutions.outcome is not Outcome.UNIQUE:
        answers = dict.fromkeys(system.variables(), "1")
        assert verify_values(system, answers).verdict is Verdict.UNVERIFIABLE
        return
    assert verify_values(system, texts).verdict is Verdict.CORRECT
    name = min(texts)
    wrong = texts | {name: str(solutions.values[name] + 1)}
    assert verify_values(system, wrong).verdict is Verdict.WRONG
    assert verify_values(system, {name: texts[name]}).verdict is Verdict.CORRECT


@given(systems)
def test_clearing_denominators_keeps_the_solutions(system: System) -> None:
    assert system.with_integers().solve() == system.solve()


@given(systems, st.sampled_from(NAMES))
def test_reading_inverts_rendering(system: System, name: str) -> None:
    """`read(q.render_question()) == q` for integer terms."""
    variables = system.variables()
    asked = name if name in variables and len(variables) > 1 else None
    question = Question(system.with_integers(), variables[0] if len(variables) == 1 else asked)
    solutions = question.solve()
    wanted = {asked} if asked else set(variables)
    few = len(system.equations) < len(variables) and solutions.outcome is Outcome.INFINITE
    assume(not few or solutions.values.keys() >= wanted)  # too few equations are refused
    assert read(question.render_question()) == question


@pytest.mark.parametrize(
    ("text", "outcome", "found"),
    [
        ("x + y = 5; x - y = 1", Outcome.UNIQUE, {"x": 3, "y": 2}),
        ("x + y = 5; x + y = 6", Outcome.NONE, {}),
        ("x + y = 5; 2x + 2y = 10", Outcome.INFINITE, {}),
        ("x + y = 5; 2x + 2y = 10; z = 3; 2z = 6", Outcome.INFINITE, {"z": 3}),
        ("x*y = 6; x = 2", Outcome.UNIQUE, {"x": 2, "y": 3}),
        ("x*y = 6; x = 0", Outcome.NONE, {}),
        ("x*y = 0; x = 0; y + z = 1; z = 2", Outcome.UNIQUE, {"x": 0, "y": -1, "z": 2}),
    ],
)
def test_outcomes(text: str, outcome: Outcome, found: Mapping[str, Fraction | int]) -> None:
    solutions = read(text).solve()
    assert solutions.outcome is outcome
    assert solutions.values == found


def test_products_that_stay_unknown_are_not_linear() -> None:
    product = SystemEquation((Product(1, ("x", "y"), False),), (Product(6, (), False),))
    with pytest.raises(Nonlinear, match=r"x\*y is a product of unknown variables"):
        System((product,)).solve()


@pytest.mark.parametrize(
    ("values", "verdict", "reason"),
    [
        ({"x": "3", "y": "2"}, Verdict.CORRECT, None),
        ({"x": "3"}, Verdict.CORRECT, None),
        ({"x": "6/2", "y": "2.0"}, Verdict.CORRECT, None),
        ({"x": "2", "y": "3"}, Verdict.WRONG, None),
        ({"x": "three"}, Verdict.WRONG, "the answer is not a number"),
    ],
)
def test_verdicts_of_values(values: dict[str, str], verdict: Verdict, reason: str | None) -> None:
    verification = verify_values(read("x + y = 5; x - y = 1").system, values)
    assert (verification.verdict, verification.reason) == (verdict, reason)


def test_no_value_is_right_where_there_is_no_single_one() -> None:
    none = verify_values(read("x = 1; x = 2").system, {"x": "1"})
    assert (none.verdict, none.reason) == (Verdict.UNVERIFIABLE, "no solution")
    many = verify_values(read("x + y = 2; 2x + 2y = 4").system, {"x": "1"})
    assert (many.verdict, many.reason) == (Verdict.UNVERIFIABLE, "infinitely many solutions")


def test_a_variable_of_another_system_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(KeyError, match="z"):
        verify_values(read("x + y = 5; x - y = 1").system, {"z": "1"})


def test_wording_keeps_the_order_in_which_terms_were_written() -> None:
    question = read("Solve -5*u = -j + 18, 2541*u + 5*j = 2538*u - 22 for u.")
    assert render_system(question.system) == "-5*u = -j + 18, 2541*u + 5*j = 2538*u - 22"
    assert question.render_question() == ("Solve -5*u = -j + 18, 2541*u + 5*j = 2538*u - 22 for u.")
