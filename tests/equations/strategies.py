"""Random equations, for property tests."""

from fractions import Fraction

from hypothesis import strategies as st

from equations.linear import Equation, Term

sizes = st.integers(0, 10**6).map(Fraction)
terms = st.builds(Term, sizes, st.booleans(), st.booleans(), st.just(1))
sides = st.lists(terms, min_size=1, max_size=4).map(tuple)
variables = st.sampled_from("abcxyzABC")
equations = st.builds(Equation, sides, sides, variables)
products = st.builds(
    Term, st.integers(0, 10**6), st.booleans(), st.booleans(), st.integers(0, 999) | st.just(1)
)
product_sides = st.lists(products, max_size=4).map(tuple)
with_products = st.builds(Equation, product_sides, product_sides, variables)


@st.composite
def solvable(draw: st.DrawFn) -> Equation:
    """Equations with integer terms and an integer solution between -300 and 300."""
    values = st.integers(-99_999, 99_999)
    solution = draw(st.integers(-300, 300))
    coefficients = draw(st.lists(values, min_size=1, max_size=4).filter(sum))
    constants = draw(st.lists(values, min_size=0, max_size=3))
    constants.append(-solution * sum(coefficients) - sum(constants))
    moved = [Term.of(Fraction(value), is_coefficient=True) for value in coefficients]
    moved += [Term.of(Fraction(value), is_coefficient=False) for value in constants]
    left: list[Term] = []
    right: list[Term] = []
    for term in draw(st.permutations(moved)):
        if draw(st.booleans()):
            left.append(term)
        else:
            right.append(Term(term.size, term.is_coefficient, not term.negative))
    return Equation(tuple(left), tuple(right), draw(variables))
