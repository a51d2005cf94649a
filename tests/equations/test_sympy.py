"""The reader against an independent one: where sympy reads a text too, both mean the same."""

from __future__ import annotations

import re

import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sympy.parsing import sympy_parser

from equations.errors import EquationError
from equations.parser import parse

X = sympy.Symbol("x")
TRANSFORMATIONS = (
    *sympy_parser.standard_transformations,
    sympy_parser.implicit_multiplication,
    sympy_parser.convert_xor,
    sympy_parser.rationalize,
)
numbers = st.one_of(
    st.integers(0, 99).map(str),
    st.builds("{}.{}".format, st.integers(0, 9), st.integers(0, 99)),
)
atoms = st.one_of(numbers, st.just("x"), st.just("x"))


def _extended(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.builds(
        "{}{}{}".format,
        inner,
        st.sampled_from([" + ", " - ", "+", "-", "*", " * ", "/", "", " "]),
        inner,
    )
    powers = st.builds("{}^{}".format, inner, st.integers(0, 3))
    return st.one_of(joined, joined, inner.map("({})".format), inner.map("-{}".format), powers)


sides = st.recursive(atoms, _extended, max_leaves=8)


@settings(max_examples=300)
@given(sides, sides)
def test_sympy_reads_the_same_equation(left: str, right: str) -> None:
    """Both readers agree on coefficient and constant, for every text that both read.

    A digit behind a letter is left out: for this reader `x2` is a name. So is a leading zero, which
    sympy reads as a factor.
    """
    text = f"{left} = {right}"
    assume("x" in text and not any(f"x{digit}" in text for digit in range(10)))
    assume(not re.search(r"(?<![\d.])0\d", text))
    try:
        net = parse(text).net()
    except EquationError:
        return
    difference = sympy.expand(_expression(left) - _expression(right))
    assert difference == net.coefficient * X + net.constant


def _expression(text: str) -> sympy.Expr:
    return sympy_parser.parse_expr(text, transformations=TRANSFORMATIONS)
