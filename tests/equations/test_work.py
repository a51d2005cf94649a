from random import Random

import pytest

from equations import prompt, work
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
        "q1=0 k-4~0^0 k-2~0^1 k0~0^2 k0~0^3 k0~0^4 k#-2e1 k&-4,0 "
        "q0=-6 =-6"
    )
    assert work.read(text).lines("c") == ["4*c = -24", "c = -6"]


def test_a_slip_is_mended_by_the_next_digit() -> None:
    """Of -43 both 4 and, as a slip, 5 tens are written; the slip leaves 7 ones to make up for."""
    quotients = {
        tuple(
            token for token in work.write(parse("3x = -129"), Random(seed)).split() if "q" in token
        )
        for seed in range(100)
    }
    assert quotients == {("q1=-4", "q0=-3"), ("q1=-5", "q0=7")}


@pytest.mark.parametrize("question", ["2x = 1", "x = x", "x = 600"])
def test_what_the_form_cannot_hold_is_refused(question: str) -> None:
    with pytest.raises(ValueError, match="solution"):
        work.write(parse(question), Random(0))


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("x = 1234567890123", "a number of 13 digits"),
        ("+".join(["x"] * 9) + " = 9", "over 8 terms with the variable"),
        ("x = " + "+".join(["1"] * 9), "over 8 constant terms"),
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
