"""Spans count code points; the page turns them into the units of the browser's selections."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PAGE = Path(__file__).resolve().parents[2] / "service" / "api" / "page"
PROGRAM = f"""
import {{ selectionOf }} from {json.dumps((PAGE / "answer.js").as_uri())};
const cases = JSON.parse(process.argv[1]);
console.log(JSON.stringify(cases.map(([text, span]) => text.slice(...selectionOf(text, span)))));
"""
TEXTS = st.text(st.sampled_from("3x+ =é\u0301\u2212\N{MATHEMATICAL BOLD SMALL X}\N{GRINNING FACE}"))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, tuple[int, int]]:
    """A text, and a span of it."""
    text = draw(TEXTS)
    start = draw(st.integers(0, len(text)))
    return text, (start, draw(st.integers(start, len(text))))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
@settings(max_examples=3)
@given(st.lists(cases(), min_size=50, max_size=200))
def test_the_page_selects_what_python_slices(some: list[tuple[str, tuple[int, int]]]) -> None:
    """Law: the selection of a span is `text[start:end]` of Python."""
    command = ["node", "--input-type=module", "--eval", PROGRAM, json.dumps(some)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [text[start:end] for text, (start, end) in some]
