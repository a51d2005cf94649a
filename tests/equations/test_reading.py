"""The reader: recorded inputs with what a careful reader expects of each."""

from random import Random

import pytest

from equations.errors import EquationError, NotLinear
from equations.limits import MAX_CHARACTERS
from equations.parser import SeveralUnknowns, parse
from equations.reading.question import Question, read
from equations.system import Outcome
from tests.equations import cases

TYPED = cases.load("typed.tsv")
MORE = cases.load("more.tsv")
DATASET = cases.load("dataset.tsv")


def refusal(text: str) -> EquationError | None:
    try:
        read(text)
    except EquationError as error:
        return error
    return None


def answer(question: Question) -> str:
    """Return the answer as the case files have it."""
    solutions = question.solve()
    if solutions.outcome is not Outcome.UNIQUE:
        return {Outcome.NONE: "NOSOL", Outcome.INFINITE: "INF"}[solutions.outcome]
    if question.asked is not None:
        return str(solutions.values[question.asked])
    return "; ".join(f"{name}={value}" for name, value in sorted(solutions.values.items()))


@pytest.mark.parametrize(("text", "expected"), TYPED + MORE)
def test_an_input_is_read_as_expected_or_refused(text: str, expected: str) -> None:
    if (error := refusal(text)) is not None:
        assert expected == "REJECT" or expected.startswith("AMBIG"), str(error)
        assert 0 <= error.span.start <= error.span.end <= len(text)
        assert len(str(error).splitlines()) == 3
    else:
        assert answer(read(text)) in expected.removeprefix("AMBIG:").split("|")


@pytest.mark.parametrize("text", [text for text, expected in TYPED if "REJECT" not in expected])
def test_canonical_wording_reads_as_the_same_question(text: str) -> None:
    try:
        question = read(text)
    except EquationError:
        return  # of two readings
    integers = Question(question.system.with_integers(), question.asked)
    assert read(question.render_question()) == integers


@pytest.mark.parametrize(("module", "text", "expected"), DATASET)
def test_the_linear_modules_of_the_dataset(module: str, text: str, expected: str) -> None:
    question = read(text)
    assert question.asked is not None, module
    assert answer(question) == expected
    assert read(question.render_question()) == question


@pytest.mark.parametrize(
    ("text", "message", "span", "expected"),
    [
        ("x < 5", "an inequality", (2, 3), "an equation, with '='"),
        ("x &lt; 5", "an inequality", (2, 6), "an equation, with '='"),
        (
            "1,000x = 2000",
            "the comma of '1,000' is a decimal comma or a thousands separator",
            (0, 5),
            "1.000 or 1000",
        ),
        (
            "\u0445 + 3 = 7",
            "the letter '\u0445' is Cyrillic",
            (0, 1),
            "a Latin letter for a variable",
        ),
        ("x + 10% = 1", "a percentage that multiplies nothing", (4, 7), None),
        ("- 2x = 8", "a dash that is a bullet or a minus sign", (0, 1), None),
        ("8/2(2+2) = x", None, (3, 8), "* or / and brackets"),
        ("2(1/2)x = 5", "a mixed number or a product", (0, 6), "2 1/2 or 2*(1/2)"),
        ("x (4) = 24", "'(4)' stands apart: a factor or a label", (2, 5), "* before a factor"),
        ("3x = 12\n+ 4", None, (8, 9), "the equation on one line"),
        ("xy = 6", None, (0, 2), "x*y for a product, or a variable of one letter"),
        ("sin(x) = 1", "the function 'sin'", (0, 3), "a linear equation"),
        ("2\U0001d465 + \U0001d466 = 1", None, (5, 6), None),  # code points, not UTF-16 units
        ("\u00bdx + 2 =", "unexpected end", (8, 8), None),
        ("\\frac{1}{x} = 2", "division by the variable", (8, 11), "a linear equation"),
    ],
)
def test_a_refusal_says_what_was_found_where_and_what_to_write(
    text: str, message: str | None, span: tuple[int, int], expected: str | None
) -> None:
    with pytest.raises(EquationError) as caught:
        read(text)
    error = caught.value
    assert error.span == span
    assert message in (None, error.message)
    assert expected in (None, error.expected)


@pytest.mark.parametrize("label", ["(2)", "[2]", "(a)", "(2 marks)", "(*)"])
@pytest.mark.parametrize("text", ["3x = 12", "x/2 + 1 = 3(x - 2)", "2x = 3 + 4"])
def test_a_label_behind_an_equation_is_no_factor(text: str, label: str) -> None:
    assert read(f"{text} {label}") == read(text)


@pytest.mark.parametrize("line", ["x", "x?", "(2)", "x = ?", ""])
def test_a_line_behind_an_equation_is_no_factor(line: str) -> None:
    assert read(f"3x = 12\n{line}") == read("3x = 12")


@pytest.mark.parametrize("text", ["3x = 12 (2)x", "3x = 12\n2", "3x = 12\nx + 1", "3x\n4 = 12"])
def test_what_would_multiply_across_a_gap_is_refused(text: str) -> None:
    with pytest.raises(EquationError):
        read(text)


@pytest.mark.parametrize("text", ["x + y = 5; x - y = 1", "x = 3; 2x = 6", "x = y = 3"])
def test_a_system_is_no_single_equation(text: str) -> None:
    with pytest.raises(SeveralUnknowns, match="a system: 2 equations in x"):
        parse(text)


@pytest.mark.parametrize(
    "text", ["x^2/x = 0", "x*y = 6; x + y = 5", "x^2 = 4", "(x + 1)(x - 1) = 0", "2^x = 8"]
)
def test_what_is_not_linear_says_so(text: str) -> None:
    with pytest.raises(NotLinear):
        read(text)


@pytest.mark.parametrize(
    "part",
    [
        *("(", "x+", "1/7+", "\n", "\nx", "x=1\n", "1.", "1,", "'", "1'", "\\frac{", "\\frac"),
        *("\\begin{a}", "&", "&a", "solve ", "x_", "x\u00b2", "((x))", "-", "x^9*", "(99^99)"),
        *("20!*", "_", "0x1", "1e", "1.(", "...", "x:", "half of ", "5%x+", "=", "x=", "$", "#"),
        *("?", "3!", "> ", "\\text{", "{", "x1=1;", "a=b;", "\\frac ", "(2)", "2 1/2 ", "seven "),
    ],
)
@pytest.mark.parametrize("tail", ["", "x = 1"])
def test_repetition_as_long_as_a_text_may_be_is_read_or_refused(part: str, tail: str) -> None:
    text = part * (MAX_CHARACTERS // len(part))
    error = refusal(text[: MAX_CHARACTERS - len(tail)] + tail)
    assert error is None or error.span.end <= MAX_CHARACTERS


def test_a_dense_system_of_the_largest_size_is_solved() -> None:
    names, random = "abcdefghijklmnop", Random(0)
    rows = [" + ".join(f"{random.randint(1, 999)}{name}" for name in names) for _ in names]
    question = read("; ".join(f"{row} = {number}" for number, row in enumerate(rows)))
    assert question.solve().outcome is Outcome.UNIQUE
