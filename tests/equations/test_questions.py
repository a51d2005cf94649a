"""docs/questions.md: every example is read, or refused, as it says."""

import re
from pathlib import Path

import pytest

from equations import limits
from equations.errors import EquationError
from equations.reading.question import read

PAGE = (Path(__file__).parents[2] / "docs/questions.md").read_text()
READ = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)
REFUSED = re.findall(r"^\| `(.+?)` \| ([^`].*?) \| (.+?) \|$", PAGE, re.MULTILINE)


def test_the_page_has_examples_of_both_kinds() -> None:
    rows = len(re.findall(r"^\| `", PAGE, re.MULTILINE))
    assert len(READ) + len(REFUSED) == rows
    assert len(READ) > 50
    assert len(REFUSED) > 30


@pytest.mark.parametrize(("written", "wording"), READ)
def test_an_example_is_read_as_the_page_says(written: str, wording: str) -> None:
    assert read(written.replace("⏎", "\n")).render_question() == wording


@pytest.mark.parametrize(("written", "message", "expected"), REFUSED)
def test_an_example_is_refused_in_the_words_of_the_page(
    written: str, message: str, expected: str
) -> None:
    with pytest.raises(EquationError) as caught:
        read(written.replace("⏎", "\n"))
    assert (caught.value.message, caught.value.expected) == (message, expected)


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    bounds = (
        f"at most {limits.MAX_CHARACTERS:,} characters, {limits.MAX_EQUATIONS} equations, "
        f"{limits.MAX_VARIABLES} variables, {limits.MAX_DEPTH} open brackets at a time, "
        f"{limits.MAX_DIGITS} digits in a number and {limits.MAX_BITS} bits"
    )
    assert bounds in " ".join(PAGE.split())
