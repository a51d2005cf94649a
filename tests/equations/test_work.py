from random import Random

import pytest

from equations import prompt, work
from equations.linear import Equation, Term, render
from equations.parser import parse


def test_the_seed_example() -> None:
    equation = parse("Solve 24 = 1601*c - 1605*c for c.")
    assert prompt.write_digits(equation) == (
        "L+2k0^1 L+4k0^0 R+1x0^3 R+6x0^2 R+0x0^1 R+1x0^0 R-1x1^3 R-6x1^2 R-0x1^1 R-5x1^0"
    )
    # 24 = -(-1601 + 1605)*c: the coefficient moves left as 4, the constant right as -24.
    text = work.write(equation, Random(1))
    assert text == (
        "x1: x4~0^0 x0~0^1 x0~0^2 x0~0^3 x#4e0 x&0,0 "
        "k0: k-4~0^0 k-2~0^1 k#-2e1 k&-4,0 "
        "q1=0 k-4~0^0 k-2~0^1 k#-2e1 k&-4,0 "
        "q0=-6"
    )
    assert work.read(text).lines("c") == ["4*c = -24", "c = -6"]


def test_a_slip_is_mended_by_the_next_digit() -> None:
    """The quotient -43 is written with 4 tens or, as a slip, with 5, which 7 ones make up for."""
    quotients = {
        tuple(
            token for token in work.write(parse("3x = -129"), Random(seed)).split() if "q" in token
        )
        for seed in range(100)
    }
    assert quotients == {("q1=-4", "q0=-3"), ("q1=-5", "q0=7")}


@pytest.mark.parametrize(
    ("question", "ends", "answer"),
    [
        ("2x = 5", "/", "5/2"),
        ("7x = 77 - 70.7", "/", "9/10"),
        ("3x = 300000000003", "q0=", "100000000001"),
        ("x = x", "k#0", None),
        ("x = x + 5", "k&-5,0", None),
    ],
)
def test_how_the_form_ends(question: str, ends: str, answer: str | None) -> None:
    text = work.write(parse(question).with_integers(), Random(2))
    assert ends in " ".join(text.split()[-2:])
    assert work.read(text).answer == answer


def test_a_fraction_shows_what_is_left() -> None:
    """The remainder is written up to its first digit that is not zero."""
    ends = {work.write(parse("30x = 50"), Random(seed)).partition("q0=")[2] for seed in range(20)}
    assert ends == {"2 k0~0^0 k-1~-1^1 /"}


@pytest.mark.parametrize(
    ("question", "remainder"),
    [("3x = 6", ""), ("30x = 60", " k0~0^0"), ("211x = 422", " k0~0^0 k0~0^1")],
)
def test_low_digits_of_a_last_remainder_are_written_before_the_form_ends(
    question: str, remainder: str
) -> None:
    """Up to two, and one fewer than the coefficient has."""
    ends = {work.write(parse(question), Random(seed)).partition("q0=")[2] for seed in range(20)}
    assert f"2{remainder}" in ends
    assert all(end.count("k") == remainder.count("k") for end in ends)


def test_products_are_added_digit_by_digit() -> None:
    equation = Equation((Term(47, True, False, 13), Term(5, True, True)), (), "x")
    assert render(equation) == "13*47*x - 5*x = 0"
    assert prompt.write_digits(equation) == ("*1x0^1 *3x0^0 L+1x0^2 L-5x0^1 L-3x0^0 L-5x1^0")
    text = work.write(equation, Random(0), divide=False)
    assert text == (
        "x0: *1^1 x0~0^0 x-3~0^1 x-5~0^2 x1~0^3 "  # 470
        "x0: *3^0 x1~-1^0 x1~-2^1 x-4~0^2 x1~0^3 "  # 611
        "x1: x-4~0^0 x1~0^1 x-4~0^2 x1~0^3 x#1e3 x&-4,1 "  # 606
        "k0: k0~0^0 k#0"
    )
    assert work.read(text) == work.Work(606, 0, None)


def test_work_of_models_before_version_2_is_read() -> None:
    assert work.read("x0: x3~0^0 x#3e0 x&0,0 k0: k1~0^0 k1~0^1 q1=4 q0=-3 =-3 .7").answer == "-37"


def test_a_quotient_that_is_cut_off_is_no_answer() -> None:
    assert work.read("x0: x3~0^0 x#3e0 x&0,0 k0: k1~0^0 k1~0^1 q1=4 k0~0^0").answer is None


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("x = 1234567890123", "a number of 13 digits"),
        ("+".join(["x"] * 17) + " = 9", "over 16 terms with the variable"),
        ("x = " + "+".join(["1"] * 17), "over 16 constant terms"),
    ],
)
def test_what_the_prompt_cannot_hold_is_refused(question: str, complaint: str) -> None:
    with pytest.raises(prompt.OutOfRange, match=complaint):
        prompt.write_digits(parse(question))


@pytest.mark.parametrize("text", ["=\u0663", "x0: x0~0^999999999", "x1: x\u0663~0^1 k0: =1"])
def test_what_is_no_work_is_read_as_none(text: str) -> None:
    read = work.read(text)
    assert read.answer in (None, "1")
    assert read.coefficient in (None, 0)


def test_an_equation_of_zeros_has_a_prompt() -> None:
    assert prompt.write_digits(parse("0*x = 0")) == prompt.EMPTY
    assert prompt.read_digits(prompt.EMPTY).left == ()


@pytest.mark.parametrize("text", ["nonsense", "L+2k0^0 L+2k0^0", "L+2k1^0", "L+2k0^2 L+1k0^0"])
def test_a_text_that_is_no_prompt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a digit"):
        prompt.read_digits(text)


@pytest.mark.parametrize(
    ("coefficient", "constant", "answer", "lines"),
    [
        (1, 3, "3", ["x = 3", "x = 3"]),
        (-1, 3, "-3", ["-x = 3", "x = -3"]),
        (None, 3, "3", None),
        (2, 4, None, None),
    ],
)
def test_lines_for_a_person(
    coefficient: int | None, constant: int, answer: str | None, lines: list[str] | None
) -> None:
    assert work.Work(coefficient, constant, answer).lines("x") == lines
