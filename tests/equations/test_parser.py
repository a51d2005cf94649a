from fractions import Fraction

import pytest

from equations.errors import EquationError, NotLinear
from equations.limits import MAX_DEPTH
from equations.linear import render, render_question
from equations.parser import parse


@pytest.mark.parametrize(
    ("text", "canonical", "solution"),
    [
        ("Solve 24 = 1601*c - 1605*c for c.", "24 = 1601*c - 1605*c", -6),
        ("3x + 5 = 20", "3*x + 5 = 20", 5),
        ("Solve 3*x+5=20", "3*x + 5 = 20", 5),
        ("2(x-1) = 4", "2*x - 2 = 4", 3),
        ("2(x-1)(3) = 0", "6*x - 6 = 0", 1),
        ("x/3 = 7", "x = 21", 21),
        ("2x/3 = 4", "2*x = 12", 6),
        ("solve -(-(x)) = 3 for x?", "x = 3", 3),
        ("\u22124 \u00d7 (c + 2) \u00f7 3 = 1.5", "-8*c - 16 = 9", Fraction(-25, 8)),
        ("0.1x = 0.25", "2*x = 5", Fraction(5, 2)),
        ("1/2/3x = 1", "x = 6", 6),
        ("2*-3x = 12", "-6*x = 12", -2),
        ("x = x + 1", "x = x + 1", None),
        ("Solve -0*m - 0 = 4*m for m.", "-0*m - 0 = 4*m", 0),
    ],
)
def test_free_forms(text: str, canonical: str, solution: Fraction | None) -> None:
    equation = parse(text).with_integers()
    assert render(equation) == canonical
    assert equation.solution() == solution
    assert render_question(equation) == f"Solve {canonical} for {equation.variable}."


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        ("", (0, 0), "a number, the variable or '('"),
        ("3x + = 2", (5, 6), "a number, the variable or '('"),
        ("3x + 5", (6, 6), "an operator or '='"),
        ("3x = 5 = 2", (5, 10), "a variable of one letter"),
        ("(((x) = 2", (6, 7), "an operator or ')'"),
        ("x = 1)", (5, 6), "an operator or '='"),
        ("() = x", (1, 2), "a number, the variable or '('"),
        ("2 3 = x", (2, 3), "an operator or '=', or no space between them"),
        ("3x + 5y = 2", (6, 7), "the same variable, 'x', or as many equations as variables"),
        ("x = 1 for y", (10, 11), "the same variable, 'x'"),
        ("3 = 3", (0, 5), "a variable of one letter"),
        ("he = 3", (0, 2), "h*e for a product, or a variable of one letter"),
        ("1/0*x = 3", (2, 3), "a divisor other than zero"),
        ("x/(1 - 1) = 3", (2, 9), "a divisor other than zero"),
        ("x # 2", (2, 3), "digits, a variable, + - * / ( ) or ="),
    ],
)
def test_faults_say_where_and_what_was_expected(
    text: str, span: tuple[int, int], expected: str
) -> None:
    with pytest.raises(EquationError) as caught:
        parse(text)
    assert (caught.value.span.start, caught.value.span.end) == span
    assert caught.value.expected == expected


@pytest.mark.parametrize("text", ["x*x = 4", "1/x = 2", "x^2 = 4", "(x+1)(x-1) = 0", "2/(x+1) = 1"])
def test_what_is_not_linear_says_so(text: str) -> None:
    with pytest.raises(NotLinear):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 100_000,
        "1" * 100_000 + "x = 1",
        "x = " + "*".join(["9" * 30] * 16),
        "x = " + " + ".join(f"1/{n}" for n in range(101, 221, 2)),
        "x = (" + " + ".join(f"1/{n}" for n in range(101, 221, 2)) + ")",
        "(" * 10_000 + "x" + ")" * 10_000 + " = 1",
        "(" * 200 + "x = 1",
        "9**9**9",
        "9^9^9*x = 1",
        "x = 1\0",
        "\u202ex = 1",
        "\ud800",
        "__import__('os').system('true')",
        "x = 1; import os",
        "=" * 400,
        "-" * 400,
    ],
)
def test_hostile_text_is_refused(text: str) -> None:
    with pytest.raises(EquationError) as caught:
        parse(text)
    drawing = caught.value.drawing().splitlines()
    assert len(drawing) == 2
    assert max(map(len, drawing)) < 100


def test_depth_is_bounded_and_the_bound_is_usable() -> None:
    def nested(depth: int) -> str:
        return "(" * depth + "x" + ")" * depth + " = 1"

    assert parse(nested(MAX_DEPTH)).solution() == 1
    with pytest.raises(EquationError, match="too many open brackets"):
        parse(nested(MAX_DEPTH + 1))


def test_the_caret_stands_under_the_fault() -> None:
    with pytest.raises(EquationError) as caught:
        parse("3x + = 20")
    assert str(caught.value) == (
        "unexpected '=' at character 6; expected a number, the variable or '('\n"
        "  3x + = 20\n"
        "       ^"
    )


def test_the_drawing_hides_what_would_move_the_caret() -> None:
    with pytest.raises(EquationError) as caught:
        parse("\u202e3x = 2")
    assert caught.value.drawing() == "  ?3x = 2\n  ^"
