"""docs/operate.md leads to things that are there."""

from __future__ import annotations

import re

import pytest

from loadtest.__main__ import main as loadtest
from tests.end_to_end.conftest import ROOT

GUIDE = (ROOT / "docs/operate.md").read_text()


def test_every_path_that_it_names_exists() -> None:
    paths = set(
        re.findall(r"`((?:tests|deploy|docs|requirements|components|overlays)/[\w./-]+)`", GUIDE)
    )
    assert len(paths) > 10
    inside = ROOT / "deploy" / "kubernetes"
    assert [
        path for path in paths if not ((ROOT / path).exists() or (inside / path).exists())
    ] == []


def test_every_verb_that_it_names_exists() -> None:
    verbs = set(re.findall(r"(?:`|^\$ )make ([a-z-]+)", GUIDE, re.MULTILINE))
    assert {"serve", "test", "ops-test", "image-test", "ray-test", "loadtest"} <= verbs
    makefile = (ROOT / "Makefile").read_text()
    assert verbs <= set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))


def test_every_section_says_what_ran_it() -> None:
    sections = re.split(r"^## (?=\d)", GUIDE.split("## When an alert fires")[0], flags=re.MULTILINE)
    for section in sections[1:7]:
        assert re.search(r"^\*Ran it: `tests/", section, re.MULTILINE), section.splitlines()[0]


def test_the_load_tests_commands_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    for line in re.findall(r"^\$ python -m loadtest (.*)$", GUIDE, re.MULTILINE):
        with pytest.raises(SystemExit) as end:
            loadtest([*line.split(), "--help"])
        assert end.value.code == 0
    assert "requests/s of each step" in capsys.readouterr().out
