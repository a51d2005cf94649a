"""The laws of the room, each quoted where it is proved."""

from collections.abc import Callable
from fractions import Fraction
from random import Random

from hypothesis import assume, example, given
from hypothesis import strategies as st

from equations import prompt, work, work_tokens
from equations.errors import EquationError
from equations.limits import MAX_DIGITS
from equations.linear import Equation, Term, render
from equations.parser import parse
from equations.reading.question import Question, read
from equations.verify import Verdict, read_answer, verify
from tests.equations.strategies import equations, solvable, with_products


@given(equations.filter(lambda e: any(t.is_coefficient for t in (*e.left, *e.right))))
def test_parsing_inverts_rendering(equation: Equation) -> None:
    """`parse(render(e)) == e` for integer terms, zeros and their signs included."""
    assert parse(render(equation)) == equation


def sums_as_written(variable: str) -> st.SearchStrategy[str]:
    term = st.one_of(
        st.integers(0, 10**12).map(str),
        st.builds(
            "{}{}{}".format, st.integers(0, 99), st.sampled_from(["*", ""]), st.just(variable)
        ),
        st.just(variable),
    )
    sign = st.sampled_from([" + ", " - ", "+", "-"])
    more = st.lists(st.builds("{}{}".format, sign, term), max_size=4).map("".join)
    return st.builds("{}{}{}".format, st.sampled_from(["", "-"]), term, more)


def reading(read_as: Callable[[str], Equation | None], text: str) -> Equation | str | None:
    """Return the equation, or why it is refused."""
    try:
        return read_as(text)
    except EquationError as error:
        return str(error)


@given(
    st.sampled_from("xe").flatmap(lambda v: st.tuples(sums_as_written(v), sums_as_written(v))),
    st.sampled_from(["{} = {}", "{}={}", "Solve {} = {}", "Solve {}={} for x."]),
)
@example(("2e+3", "7"), "{} = {}")
@example(("e", "5-2e-3"), "{}={}")
def test_the_short_path_reads_as_the_whole_reader(sides: tuple[str, str], frame: str) -> None:
    """`parse(text) == read(text).single()` for the wording that takes the short path, and for
    `2e+3`, which may be a number.
    """
    text = frame.format(*sides)
    assert reading(parse, text) == reading(lambda text: read(text).single(), text)


@given(
    equations.filter(lambda e: any(t.is_coefficient for t in (*e.left, *e.right))),
    st.sampled_from(
        [
            *("${}$", "\\({}\\)", "\\begin{{equation}}{}\\end{{equation}}", '"{}"', "{}."),
            *("(2) {}", "{} (2)", "{} [3]", "{}  (2 marks)", "* {}", "> {}", "3. {}", "b) {}"),
            *("\n{}\n", "\t{}", "{} ?", "{}\n(4)", "#7 {}", "Question 4: {}", "\u2028{}"),
            *("Solve: {}", "Find the number: {}", "What is the value if {}?", "If {}", "({})"),
        ]
    ),
)
def test_decoration_changes_nothing(equation: Equation, frame: str) -> None:
    """`read(decorated) == read(plain)`, or the decoration may be a sign and is refused."""
    plain = render(equation)
    assume(not ("(2) " in frame and plain.startswith("-")))
    assert read(frame.format(plain)).single() == equation


@given(
    st.lists(
        st.sampled_from(
            [
                *("x", "y", "2", "0.5", "1,5", "+", "-", "*", "/", "^", "=", "(", ")", "[", "]"),
                *("{", "}", " ", "\n", ";", ",", ".", ":", "?", "!", "%", "#", "$", "&", "_"),
                *("\\frac", "\\sqrt", "\\text{", "\\begin{a}", "\u00bd", "\u00b2", "\u221a"),
                *("Solve ", " for ", " is ", " of ", " and ", "number", "seven", "price", "'"),
            ]
        ),
        max_size=30,
    ).map("".join)
)
def test_any_typed_text_is_read_or_refused(text: str) -> None:
    """A text is a question, whose wording is that question again, or refused within it."""
    try:
        question = read(text)
    except EquationError as caught:
        error = caught
    else:
        integers = Question(question.system.with_integers(), question.asked)
        sizes = [t.size for e in integers.system.equations for t in (*e.left, *e.right)]
        assume(max(sizes) < 10**MAX_DIGITS)  # as long as one may be written
        assert read(question.render_question()) == integers
        return
    assert 0 <= error.span.start <= error.span.end <= len(text)
    assert len(error.drawing().splitlines()) == 2


@given(st.text(max_size=600))
def test_any_text_parses_or_is_refused(text: str) -> None:
    """`parse` returns or raises `EquationError`, whose span lies within the text."""
    try:
        parse(text)
    except EquationError as caught:
        error = caught
    else:
        return
    assert 0 <= error.span.start <= error.span.end <= len(text)
    assert len(error.drawing().splitlines()) == 2


@given(st.text(alphabet="0123456789xy+-*/()=. ", max_size=60))
def test_any_equation_like_text_parses_or_is_refused(text: str) -> None:
    try:
        equation = parse(text).with_integers()
    except EquationError:
        return
    terms = (*equation.left, *equation.right)
    assume(any(term.is_coefficient for term in terms))  # not where the variable cancelled out
    assume(max(term.size for term in terms) < 10**MAX_DIGITS)  # as long as one may be written
    assert parse(render(equation)).net() == equation.net()


@given(equations)
def test_exactly_the_solution_is_correct(equation: Equation) -> None:
    """The solution is correct and its neighbour wrong; without one nothing is either."""
    solution = equation.solution()
    if solution is None:
        assert verify(equation, "1").verdict is Verdict.UNVERIFIABLE
        return
    assert verify(equation, str(solution)).verdict is Verdict.CORRECT
    assert verify(equation, str(solution + 1)).verdict is Verdict.WRONG


@given(equations, st.fractions(min_value=1, max_value=50))
def test_clearing_denominators_keeps_the_solution(equation: Equation, factor: Fraction) -> None:
    left, right = (
        tuple(Term(t.size / factor, t.is_coefficient, t.negative) for t in side)
        for side in (equation.left, equation.right)
    )
    cleared = Equation(left, right, equation.variable).with_integers()
    assert all(t.size.denominator == 1 for t in (*cleared.left, *cleared.right))
    assert cleared.solution() == equation.solution()


@given(solvable())
def test_the_digits_prompt_is_reversible(equation: Equation) -> None:
    """`read_digits(write_digits(e))` is `e` without its zero terms."""
    read = prompt.read_digits(prompt.write_digits(equation))
    assert read.left == tuple(t for t in equation.left if t.size)
    assert read.right == tuple(t for t in equation.right if t.size)


@given(with_products, st.integers())
def test_written_work_reads_back(equation: Equation, seed: int) -> None:
    """The worked form holds the net coefficient, the net constant and the answer, if any."""
    solution = equation.solution()
    read = work.read(work.write(equation, Random(seed)))
    net = equation.net()
    answer = None if solution is None else str(solution)
    assert read == work.Work(int(net.coefficient), -int(net.constant), answer)
    sums = work.read(work.write(equation, Random(seed), divide=False))
    assert sums == work.Work(int(net.coefficient), -int(net.constant), None)


@given(with_products)
def test_the_digits_prompt_keeps_products(equation: Equation) -> None:
    """`read_digits(write_digits(e))` has the net form of `e`."""
    assert prompt.read_digits(prompt.write_digits(equation)).net() == equation.net()


@given(solvable(), st.integers())
def test_whatever_digits_are_chosen_the_quotient_is_the_solution(
    equation: Equation, seed: int
) -> None:
    assert work.read_quotient(work.write(equation, Random(seed))) == equation.solution()


@given(solvable() | with_products, st.integers())
def test_vocabularies_are_complete(equation: Equation, seed: int) -> None:
    assert set(prompt.write_digits(equation).split()) <= set(prompt.digits_vocabulary())
    assert set(work.write(equation, Random(seed)).split()) <= set(work_tokens.vocabulary())


@given(st.text(max_size=200))
def test_any_text_reads_as_work(text: str) -> None:
    """`work.read` and `read_quotient` never raise, and an answer found is a number."""
    work.read_quotient(text)
    answer = work.read(text).answer
    assert answer is None or str(read_answer(answer)) == answer.replace("-0", "0")


def test_vocabularies_do_not_overlap_or_repeat() -> None:
    tokens = prompt.digits_vocabulary() + work_tokens.vocabulary()
    assert len(tokens) == len(set(tokens))
