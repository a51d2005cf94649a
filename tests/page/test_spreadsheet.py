"""The page's CSV in a spreadsheet program, LibreOffice Calc (`make browser-test`)."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.page.conftest import unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOFFICE = shutil.which("soffice")
MISSING = "" if SOFFICE else "needs LibreOffice Calc (Debian's libreoffice-calc-nogui)"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]
# All that may change a field is on: comma, quotes, UTF-8, from line 1, en-US, numbers with special
# meaning such as dates are found, formulas are run.
LENIENT = "CSV:44,34,76,1,,1033,false,true,false,false,false,-1,true,true"
NUMBERS = ["-6", "0", "12.5", "+1", "123456789012345"]
TEXTS = [
    "-1/3", "5/2", "5/12/2026", "12345678901234567890", "007", "1e5", "3:4", "1-2-3", "12,345",
    "50%", "x = 5", "2x = 5/2",
]  # fmt: skip
FORMULAS = ["=1+1", "=WEBSERVICE(A1)", "@SUM(A1)", "+1+1", "-2+3", "-2y = 12", "=cmd|' /C calc'!A0"]
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"


def opened(csv: Path) -> dict[str, ET.Element]:
    """The second cell of each row by the text of the first, as Calc has them."""
    assert SOFFICE is not None
    profile = f"-env:UserInstallation={(csv.parent / 'profile').as_uri()}"
    subprocess.run(
        [SOFFICE, profile, "--headless", f"--infilter={LENIENT}", "--convert-to", "fods", csv],
        cwd=csv.parent, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    tree = ET.parse(csv.with_suffix(".fods"))  # noqa: S314  # LibreOffice wrote it just now
    rows = [row.findall(f"{_TABLE}table-cell") for row in tree.iter(f"{_TABLE}table-row")]
    return {text(cells[0]): cells[1] for cells in rows if len(cells) > 1}


def text(cell: ET.Element) -> str:
    return "".join(part for line in cell.iter(f"{_TEXT}p") for part in line.itertext())


def test_numbers_stay_numbers_fractions_stay_fractions_and_formulas_do_not_run(
    page: Page, tmp_path: Path
) -> None:
    values = [*NUMBERS, *TEXTS, *FORMULAS]
    rows = [[f"row {number}", value] for number, value in enumerate(values)]
    written = page.evaluate(
        "async (rows) => (await import('/page/csv.js')).csv(['row', 'value'], rows)", rows
    )
    (tmp_path / "page.csv").write_text(written, newline="")
    cells = opened(tmp_path / "page.csv")
    for number, value in enumerate(values):
        cell = cells[f"row {number}"]
        kind = cell.get(f"{_OFFICE}value-type")
        assert cell.get(f"{_TABLE}formula") is None, value
        if value in NUMBERS:
            assert kind == "float", value
            assert Fraction(cell.get(f"{_OFFICE}value", "")) == Fraction(value)
        else:
            assert kind == "string", value
            assert text(cell).strip() in (value, f"'{value}"), value
            assert text(cell).startswith("'") == (value in FORMULAS)


def test_a_fraction_of_the_csv_is_one_for_python_too(page: Page) -> None:
    written = page.evaluate("async () => (await import('/page/csv.js')).field('-1/3')")
    assert Fraction(written) == Fraction(-1, 3)
