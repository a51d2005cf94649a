from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equations import work
from equations.linear import Equation
from equations.parser import parse
from tests.equations.strategies import solvable
from training.partial import Step, compare, edit_distance, first_failed_step

texts = st.text(alphabet="-0123", max_size=6)
numbers = st.integers(-2_000, 2_000)

SIXTY = parse("Solve 4*c + 10 = c + 190 for c.")  # 3*c = 180, c = 60
WORKED = "x1: x3~0^0 x#3e0 x&0,0 k1: k0~0^0 k-2~1^1 k2~0^2 k#2e2 k&-2,0 q1=6 k0~0^0 k#0 q0=0 =6 .0"


def test_a_wrong_sign_is_all_that_is_wrong() -> None:
    partial = compare("21", "-21")
    assert partial.sign_only
    assert partial.same_length
    assert partial.digits == (True, True, None)
    assert partial.edits == 1
    assert partial.absolute_error == 42
    assert partial.relative_error == 2


@pytest.mark.parametrize(
    ("answer", "expected", "digits"),
    [
        ("-44", "-43", (False, True, None)),
        ("143", "43", (True, True, False)),  # a digit that the right answer lacks
        ("3", "43", (True, False, None)),
        ("7/2", "3", (True, None, None)),  # before the point
        (None, "43", (False, False, None)),
        ("no", "-143", (False, False, False)),
    ],
)
def test_digits_are_right_or_wrong_by_place(
    answer: str | None, expected: str, digits: tuple[bool | None, ...]
) -> None:
    assert compare(answer, expected).digits == digits


@pytest.mark.parametrize("answer", [None, "", "none", "1 2", "--3"])
def test_what_is_no_number_has_no_error(answer: str | None) -> None:
    partial = compare(answer, "12")
    assert not partial.is_number
    assert not partial.sign_only
    assert not partial.same_length
    assert partial.absolute_error is partial.relative_error is None


def test_errors_are_exact() -> None:
    assert compare("1/3", "3").absolute_error == Fraction(8, 3)
    assert compare("1/3", "3").relative_error == Fraction(8, 9)
    assert compare("5", "0").relative_error is None
    with pytest.raises(ValueError, match="not a number: 'x'"):
        compare("5", "x")


@given(numbers, numbers)
def test_an_answer_is_right_in_all_parts_or_in_none(found: int, right: int) -> None:
    """No error, no edit and every digit right go together, but for the sign."""
    partial = compare(str(found), str(right))
    assert (partial.absolute_error == 0) == (partial.edits == 0) == (found == right)
    assert partial.sign_only == (found == -right != 0)
    if abs(found) == abs(right):
        assert partial.same_length
        assert False not in partial.digits
    elif max(abs(found), abs(right)) < 1000:
        assert False in partial.digits


@given(texts, texts, texts)
def test_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))


def test_edit_distance_by_hand() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("-17", "17") == 1


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("", "", None),
        ("x3~0^0", "x4~0^0", Step.COEFFICIENT),
        ("x1:", "x1: x2~0^0 x2:", None),  # a running sum that came right in the end
        ("k2~0^2 k#2", "k3~0^2 k#3", Step.CONSTANT),
        ("q1=6 k0~0^0 k#0 q0=0", "q1=5 k-3~0^0 k3~0^1 k#3e1 k&-3,0 q0=9", Step.DIVISION),
        ("q1=6 k0~0^0 k#0 q0=0", "q1=5 k-3~0^0 k3~0^1 k#3e1 k&-3,0 q0=9 q0=1", None),  # comes to 60
        (" q1=6 k0~0^0 k#0 q0=0", "", Step.DIVISION),
        ("=6 .0", "=5 .9", Step.ANSWER),
        (" =6 .0", "", None),  # the quotient is the answer
        ("q1=6 k0~0^0 k#0 q0=0 =6 .0", "q1=5 k-3~0^0 k3~0^1 k#3e1 k&-3,0 q0=9 k3~0^0 /", None),
        (WORKED, "=6 .0", None),  # a bare answer
        (WORKED, "", None),
    ],
)
def test_the_first_failed_step(old: str, new: str, step: Step | None) -> None:
    assert first_failed_step(SIXTY, WORKED.replace(old, new, 1)) is step


@given(solvable(), st.integers())
def test_right_work_fails_nowhere(equation: Equation, seed: int) -> None:
    assert first_failed_step(equation, work.write(equation, Random(seed))) is None


@given(solvable(), solvable(), st.integers())
def test_work_of_another_equation_fails_where_they_part(
    equation: Equation, other: Equation, seed: int
) -> None:
    step = first_failed_step(equation, work.write(other, Random(seed)))
    net, written = equation.net(), other.net()
    if net.coefficient != written.coefficient:
        assert step is Step.COEFFICIENT
    elif net.constant != written.constant:
        assert step is Step.CONSTANT
    else:
        assert step is None
