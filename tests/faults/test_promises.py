"""docs/reliability.md promises nothing without a test, and no test fault is unnamed there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.faults.server import ROOT

DOCUMENT = ROOT / "docs/reliability.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def functions_of(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        node.name
        for node in tree.body
        if isinstance(node, functions) and node.name.startswith("test_")
    }


def named() -> list[tuple[str, str]]:
    return NAMED.findall(DOCUMENT.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("path", "test"), named())
def test_a_test_that_is_named_exists(path: str, test: str) -> None:
    assert (ROOT / path).is_file()
    assert not test or test in functions_of(path)


def test_every_promise_names_a_test() -> None:
    rows = re.findall(r"^\| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    promises = [row for row in rows if row[0].isdigit()]
    assert len(promises) >= 15
    for promise in promises:
        assert NAMED.search(promise), promise


def test_every_fault_on_a_real_server_is_named() -> None:
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/faults").glob("test_*.py")}
    unnamed = here - {path for path, _ in named()} - {"tests/faults/test_promises.py"}
    assert not unnamed
