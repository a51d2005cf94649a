"""Every page names only links, anchors, tests and verbs that exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, anchors, links, pages, text_of

PAGES = pages()
VERB = re.compile(r"(?:`|^\$ )make ([a-z][a-z-]*)", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w./-]+)(?:::\w+)?`")


def broken(page: str, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    folder = (ROOT / page).parent
    wrong = []
    for target in links(text):
        path, _, anchor = target.partition("#")
        file = folder / path if path else ROOT / page
        if not file.exists() or (
            anchor and anchor not in anchors(file.read_text(encoding="utf-8"))
        ):
            wrong.append(target)
    return wrong


def test_the_pages_are_found() -> None:
    assert {"README.md", "CHANGELOG.md", "docs/operate.md", "training/LOG.md"} <= set(PAGES)
    assert len(PAGES) > 30


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_and_anchor_resolves(page: str) -> None:
    assert broken(page, text_of(page)) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    assert [path for path in TEST.findall(text_of(page)) if not (ROOT / path).exists()] == []


def test_every_verb_that_a_page_names_exists() -> None:
    verbs = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {(page, verb) for page in PAGES for verb in VERB.findall(text_of(page))}
    assert named
    assert {(page, verb) for page, verb in named if verb not in verbs} == set()


def test_a_broken_link_is_found() -> None:
    page = (
        "# Two words\n[a](gone.md) [b](#two-words) [c](#three) `[d](span.md)`\n```\n[e](f.md)\n```"
    )
    assert broken("docs/none.md", "[a](gone.md)") == ["gone.md"]
    assert links(page) == ["gone.md", "#two-words", "#three"]
    assert anchors(page) == {"two-words"}


def test_anchors_are_those_of_github() -> None:
    page = "## 7. Untrusted clients\n## `fp16`, and [a link](x.md)\n## Same\n## Same\n"
    assert anchors(page) == {"7-untrusted-clients", "fp16-and-a-link", "same", "same-1"}
