"""The index of decisions names every record with its title, date and status, and every number."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, text_of

FOLDER = ROOT / "docs/decisions"
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.*?) ?\| (.+) \|$", re.MULTILINE)
HEAD = re.compile(r"# (\d+)\. (.+)\n\n(\d{4}-\d\d-\d\d)\. Status: (\w+)[.;]")


def rows() -> dict[int, tuple[str, str, str]]:
    """Return title or link, date and status of each number in the index."""
    return {
        int(number): (title, date, status)
        for number, title, date, status in ROW.findall(text_of("docs/decisions/README.md"))
    }


def test_the_index_has_every_number_up_to_the_last() -> None:
    assert list(rows()) == list(range(1, len(rows()) + 1))


def test_every_decision_has_a_subject() -> None:
    _, table, *_ = text_of("docs/decisions/README.md").split("\n\n| ")
    found = [int(number) for number in re.findall(r"\b\d+\b", table)]
    assert sorted(found) == [n for n, (_, _, status) in rows().items() if status != "unused"]


def test_the_index_agrees_with_the_records() -> None:
    files = {int(path.name[:4]): path for path in FOLDER.glob("[0-9]*.md")}
    used = {number for number, (_, _, status) in rows().items() if status != "unused"}
    assert used == set(files)
    for number, path in files.items():
        head = HEAD.match(path.read_text(encoding="utf-8"))
        assert head, f"{path.name}: expected `# N. Title`, then `DATE. Status: accepted.`"
        title, date, status = rows()[number]
        assert int(head[1]) == number
        linked = re.fullmatch(rf"\[(.+)\]\({re.escape(path.name)}\)", title)
        assert linked, f"{path.name} is not linked in its row"
        assert head[2].startswith(linked[1])
        assert head[3] == date
        assert status.startswith(head[4])
