"""Many equations: progress, results, and the CSV (`make browser-test`)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.page.conftest import unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Route

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]
LINES = [
    "3x + 5 = 20", "", "3x + = 20", '=1+1, or "x"', "x + 1 = x + 2", "-2y = 12",
    "x + y = 5; x - y = 2",
]  # fmt: skip


@pytest.fixture
def batch(page: Page) -> Page:
    page.get_by_role("tab", name="Batch").click()
    return page


def solve(page: Page, text: str) -> None:
    page.get_by_label("Equations, one a line").fill(text)
    page.get_by_role("button", name="Solve all").click()
    page.get_by_text("Done:").wait_for()


def counts(page: Page) -> dict[str, int]:
    items = page.locator("#batch-counts > div").all()
    pairs = [item.inner_text().split("\n") for item in items]
    return {name: int(count) for name, count in pairs}


def downloaded(page: Page, folder: Path) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "cybersolve.csv"
    path = folder / "cybersolve.csv"
    download.value.save_as(path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert path.read_bytes().count(b"\r\n") == path.read_bytes().count(b"\n")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_lines_are_answered_one_by_one(batch: Page) -> None:
    solve(batch, "\n".join(LINES))
    assert counts(batch) == {"correct": 3, "wrong": 0, "unverifiable": 1, "problems": 2}
    rows = batch.locator("#batch-rows tr").all()
    assert [row.locator("th").inner_text() for row in rows] == ["1", "3", "4", "5", "6", "7"]
    assert "x = 5" in rows[0].inner_text()
    assert "x = 7/2, y = 3/2" in rows[5].inner_text()
    assert rows[1].locator("mark").inner_text() == "="
    assert "at character 6; expected" in rows[1].inner_text()
    assert batch.locator("#lines-count").inner_text() == "6 lines"
    batch.get_by_label("Show").select_option("problem")
    assert batch.locator("#batch-rows tr").count() == 2


def test_the_csv_holds_it_all_and_runs_nothing(batch: Page, tmp_path: Path) -> None:
    solve(batch, "\n".join(LINES))
    rows = downloaded(batch, tmp_path)
    assert [row["line"] for row in rows] == ["1", "3", "4", "5", "6", "7"]
    assert [row["verdict"] for row in rows] == [
        "correct",
        "",
        "",
        "unverifiable",
        "correct",
        "correct",
    ]
    assert rows[0]["work"] == "3*x = 15; x = 5"
    assert (rows[1]["status"], rows[1]["character"]) == ("422", "6")
    assert rows[2]["question"] == "'" + LINES[3]  # a spreadsheet would have run it
    assert rows[4]["question"] == "'-2y = 12"
    assert rows[4]["answer"] == "-6"  # a number is none
    assert (rows[5]["answer"], rows[5]["solution"]) == ("", "x = 7/2, y = 3/2")


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+1", "+1"),
        ("-1/3", "\t-1/3"),
        ("5/2", "\t5/2"),
        ("123456789012345", "123456789012345"),
        ("1234567890123456", "\t1234567890123456"),
        ("007", "\t007"),
        ("1-2-3", "\t1-2-3"),
        ("3:4", "\t3:4"),
        ("1e5", "\t1e5"),
        (0.1234567890123456, "0.1234567890123456"),
        ("2 = x", "2 = x"),
        ("-12.5", "-12.5"),
        ("-2+3", "'-2+3"),
        ('a,"b"', '"a,""b"""'),
        ("a\nb", '"a\nb"'),
        (None, ""),
        (0, "0"),
    ],
)
def test_one_field_of_the_csv(page: Page, value: Any, field: str) -> None:
    written = page.evaluate("async (v) => (await import('/page/csv.js')).field(v)", value)
    assert written == field


def test_a_file_larger_than_one_request(batch: Page, tmp_path: Path) -> None:
    file = tmp_path / "many.txt"
    file.write_text("\n".join(f"{i % 7 + 2}x + {i % 11} = {i % 13}x + 3" for i in range(650)))
    sent: list[int] = []

    def count_questions(request: Request) -> None:
        if request.url.endswith("/solve/batch"):
            sent.append(len(request.post_data_json["questions"]))

    batch.on("request", count_questions)
    batch.locator("#batch-file").set_input_files(file)
    batch.get_by_text("many.txt is open.").wait_for()
    batch.get_by_role("button", name="Solve all").click()
    batch.get_by_text("Done:").wait_for(timeout=120_000)
    assert sum(sent) == 650
    assert max(sent) == 100
    assert sum(counts(batch).values()) == 650
    assert batch.locator("#batch-rows tr").count() == 500
    assert "the first 500 of 650" in batch.locator("#batch-shown").inner_text()
    assert len(downloaded(batch, tmp_path)) == 650


def test_a_file_can_be_dropped(batch: Page) -> None:
    batch.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["3x = 12\\r\\n4y = 8"], "two.txt", { type: "text/plain" }));
          const event = { dataTransfer: data, bubbles: true, cancelable: true };
          document.getElementById("lines").dispatchEvent(new DragEvent("drop", event));
        }"""
    )
    batch.get_by_text("two.txt is open.").wait_for()
    assert batch.locator("#lines-count").inner_text() == "2 lines"


def test_parts_keep_to_the_limits(page: Page) -> None:
    """The limits count questions and bytes; no line is lost; a long one is a part by itself."""
    sizes = page.evaluate(
        """async () => {
          const { chunksOf } = await import("/page/lines.js");
          const texts = ["a", "bb", "é".repeat(30), "c", "d", "e"];
          const chunks = chunksOf(texts.map((question) => ({ question })), 2, 40);
          return chunks.map((chunk) => chunk.map(({ question }) => question.length));
        }"""
    )
    assert sizes == [[1, 2], [30], [1, 1], [1]]


def test_lines_that_the_service_could_not_take_are_tried_again(batch: Page) -> None:
    def fail(route: Route) -> None:
        problem = {"status": 429, "title": "-", "detail": "-"}
        answered = route.fetch().json()["results"]
        route.fulfill(json={"results": [problem, *answered[1:]]})

    batch.route("**/solve/batch", fail, times=1)
    solve(batch, "3x = 12\n4y = 8")
    assert counts(batch)["problems"] == 1
    batch.get_by_role("button", name="Solve the rest").click()
    batch.get_by_text("Done: 1 line").wait_for()
    assert counts(batch) == {"correct": 2, "wrong": 0, "unverifiable": 0, "problems": 0}


def test_a_part_that_is_refused_waits_and_goes_on(batch: Page) -> None:
    def busy(route: Route) -> None:
        problem = {"status": 503, "title": "-", "detail": "-"}
        route.fulfill(status=503, json=problem, headers={"retry-after": "0"})

    batch.route("**/solve/batch", busy, times=2)
    solve(batch, "3x = 12")
    assert counts(batch)["correct"] == 1


def test_a_batch_can_be_stopped(batch: Page) -> None:
    def never(_: Route) -> None:
        """It is under way until somebody stops it."""

    batch.route("**/solve/batch", never, times=1)
    batch.get_by_role("button", name="60 random ones").click()
    batch.get_by_role("button", name="Solve all").click()
    batch.get_by_role("button", name="Stop").click()
    batch.get_by_text("Stopped.").wait_for()
    assert batch.get_by_role("button", name="Solve all").is_visible()
    batch.get_by_role("button", name="Solve the rest").click()
    batch.get_by_text("Done: 60 lines").wait_for()


def test_the_random_equations_have_whole_solutions(batch: Page) -> None:
    batch.get_by_role("button", name="60 random ones").click()
    batch.get_by_role("button", name="Solve all").click()
    batch.get_by_text("Done:").wait_for()
    found = counts(batch)
    assert found["correct"] + found["wrong"] + found["unverifiable"] == 60
    assert found["correct"] > 50
