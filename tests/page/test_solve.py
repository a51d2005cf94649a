"""One equation: its answer, its faults, its request as commands (`make browser-test`)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.end_to_end.conftest import Server
from tests.page.conftest import Watch, ask, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]

WRONG = "2j + 10982 = -1357032"  # the model loses a digit of -684007


def steps(page: Page) -> list[str | None]:
    items = page.locator(".steps li").all()
    return [item.get_attribute("data-text") for item in items]


def test_enter_solves_and_the_whole_answer_is_shown(page: Page) -> None:
    ask(page, "Solve 24 = 1601*c - 1605*c for c.")
    outcome = page.get_by_role("region", name="Answer", exact=True)
    outcome.get_by_text("Correct", exact=True).wait_for()
    assert outcome.locator(".result").inner_text().replace("\n", "").replace(" ", "") == "c=−6"
    assert outcome.locator(".read").get_attribute("data-text") == "24 = 1601*c - 1605*c"
    assert steps(page) == ["4*c = -24", "c = -6"]
    text = outcome.inner_text()
    for part in ("the model", "Model's confidence", "Tries", "queue", "inference", "total", " ms"):
        assert part in text
    outcome.get_by_text("Raw JSON").click()
    raw = json.loads(outcome.locator("details pre").inner_text())
    assert (raw["answer"], raw["verdict"]) == ("-6", "correct")


def test_a_system_shows_its_equations_its_values_and_its_steps(page: Page) -> None:
    ask(page, "x + y = 5; x - y = 2")
    outcome = page.get_by_role("region", name="Answer", exact=True)
    outcome.get_by_text("Correct", exact=True).wait_for()
    assert outcome.locator(".result math").count() == 2
    assert outcome.locator(".result").get_attribute("aria-label") == "x = 7/2, y = 3/2"
    assert outcome.locator(".read math").count() == 2
    shown = steps(page)
    assert (shown[-2:], len(shown) > 2) == (["2*x = 7", "x = 7/2"], True)
    assert "solved exactly" in outcome.locator(".why").inner_text()


def test_a_composed_question_shows_the_value_asked_for(page: Page) -> None:
    page.get_by_role("button", name="Suppose 3*b").click()
    page.get_by_text("Correct", exact=True).wait_for()
    assert page.locator(".result").get_attribute("aria-label") == "x = 3"
    assert steps(page) == ["3*b = 15", "b = 5", "5*x = 15", "x = 3"]


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("x + y = 1; x + y = 2", "No solution"),
        ("x + y = 1; 2x + 2y = 2", "Infinitely many solutions"),
    ],
)
def test_a_system_without_one_solution_says_so(page: Page, question: str, says: str) -> None:
    ask(page, question)
    page.locator("article.answer .badge").get_by_text("Unverifiable").wait_for()
    assert page.locator(".result").inner_text() == says
    assert page.locator(".steps li").last.inner_text().endswith(says.lower())


def test_a_wrong_character_is_marked_and_selected(page: Page) -> None:
    ask(page, "3x + = 20")
    assert page.locator(".fault mark").inner_text() == "="
    assert "a number, the variable or '('" in page.locator(".expected").inner_text()
    assert "at character 6" in page.locator(".expected").inner_text()
    field = page.get_by_label("Linear equation")
    assert field.get_attribute("aria-invalid") == "true"
    assert field.evaluate("f => f.value.slice(f.selectionStart, f.selectionEnd)") == "="
    ask(page, "3x + 5 = 20")
    page.get_by_text("Correct", exact=True).wait_for()
    assert field.get_attribute("aria-invalid") is None


def test_places_count_characters_not_halves_of_them(page: Page) -> None:
    """Python counts code points, a browser UTF-16: the sign before the fault has two halves."""
    ask(page, "😀x = 3 + 2")
    mark = page.locator(".fault mark")
    assert mark.inner_text() == "😀"
    selected = "f => f.value.slice(f.selectionStart, f.selectionEnd)"
    assert page.get_by_label("Linear equation").evaluate(selected) == "😀"


def test_a_text_that_ends_too_early_is_marked_at_its_end(page: Page) -> None:
    ask(page, "3x + 5 =")
    assert page.locator(".fault mark").inner_text() == "\u00a0"


@pytest.mark.parametrize(
    ("question", "word", "says"),
    [
        ("x + 1 = x + 2", "Unverifiable", "No solution"),
        ("x + 1 = x + 1", "Unverifiable", "Every number solves it"),
        ("x*x = 4", "Status 422", "Not understood"),
        (WRONG, "Wrong", "does not make both sides equal"),
    ],
)
def test_what_is_not_plainly_right_is_said_in_words(
    page: Page, question: str, word: str, says: str
) -> None:
    ask(page, question)
    page.locator("article.answer .badge").get_by_text(word).wait_for()
    assert says in page.locator("article.answer").inner_text()


def test_a_fraction_is_drawn_as_one(page: Page) -> None:
    ask(page, "2x = 5")
    page.locator("article.answer .badge").get_by_text("Correct").wait_for()
    assert page.locator(".result mfrac").evaluate("f => f.textContent") == "52"


def test_the_exact_solution_where_the_model_is_wrong(page: Page) -> None:
    page.get_by_label("Solve exactly where the model is wrong").check()
    ask(page, WRONG)
    page.get_by_text("the exact solver").wait_for()
    assert "684007" in page.locator(".result").inner_text()


def test_a_wrong_answer_is_struck_out_and_offers_the_exact_one(page: Page) -> None:
    ask(page, WRONG)
    page.locator("article.answer .badge").get_by_text("Wrong").wait_for()
    line = page.locator(".result math").evaluate("m => getComputedStyle(m).backgroundImage")
    assert line.startswith("linear-gradient")
    page.get_by_role("button", name="Solve exactly", exact=True).click()
    page.get_by_text("the exact solver").wait_for()
    assert "684007" in page.locator(".result").inner_text()
    assert page.get_by_label("Solve exactly where the model is wrong").is_checked()
    assert not page.get_by_role("button", name="Solve exactly", exact=True).count()


@pytest.mark.parametrize("question", ["x + 1 = x + 2", "x + 1 = x + 1"])
def test_where_no_number_can_be_right_none_is_the_headline(page: Page, question: str) -> None:
    ask(page, question)
    page.locator("article.answer .badge").get_by_text("Unverifiable").wait_for()
    assert "x" not in page.locator(".result").inner_text()
    assert "nothing to check it against" in page.locator(".why").inner_text()


def test_a_number_too_long_for_the_model_is_understood_and_solved_exactly(page: Page) -> None:
    ask(page, "123456789012345x = 7")
    page.get_by_text("The model does not read a number of 15 digits, over 12.").wait_for()
    assert "Not understood" not in page.locator("article.answer").inner_text()
    page.get_by_role("button", name="Solve exactly", exact=True).click()
    page.get_by_text("the exact solver").wait_for()


@pytest.mark.parametrize("typed", ["", "   "])
def test_an_empty_field_asks_nothing(page: Page, typed: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ask(page, typed)
    assert page.get_by_label("Linear equation").evaluate("f => f.matches(':invalid')")
    page.wait_for_function("document.activeElement.id === 'question'")
    assert not [url for url in asked if url.endswith("/solve")]
    assert page.locator(".story").is_visible()


def test_back_goes_to_the_question_before(page: Page) -> None:
    page.goto("/docs")
    page.goto("/")
    page.locator(".story").wait_for()
    for question in ("3x = 12", "4y = 8"):
        ask(page, question)
        page.locator(".read").get_by_text(question[1]).wait_for()
    ask(page, "4y = 8")  # again: no other place to go back to
    page.get_by_role("tab", name="Batch").click()
    field = page.get_by_label("Linear equation")
    page.go_back()
    assert field.input_value() == "4y = 8"
    page.go_back()
    page.locator(".read[data-text='3*x = 12']").wait_for()
    assert field.input_value() == "3x = 12"
    page.go_back()
    page.locator(".story").wait_for()
    assert field.input_value() == ""
    page.go_forward()
    page.locator(".read[data-text='3*x = 12']").wait_for()
    page.go_back()
    page.go_back()
    assert page.url.endswith("/docs")


def test_what_was_read_stands_above_the_answer(page: Page) -> None:
    """A misreading has no other guard than the eye: it is as large as the text around it."""
    ask(page, "3x + 5 = 20")
    read = page.locator(".read")
    read.wait_for()
    result = page.locator(".result")
    assert read.bounding_box()["y"] < result.bounding_box()["y"]
    assert (
        read.evaluate("r => parseFloat(getComputedStyle(r.querySelector('math')).fontSize)") >= 18
    )


def test_an_example_is_one_click(page: Page) -> None:
    page.get_by_role("button", name="3x + 5 = 20").click()
    page.get_by_text("Correct", exact=True).wait_for()
    assert steps(page)[-1] == "x = 5"


@pytest.mark.parametrize("question", ["2(x − 1) = 4", """it's "x" = $HOME `id` \\ 2"""])
def test_the_copied_commands_do_what_the_page_did(
    page: Page, server: Server, question: str
) -> None:
    ask(page, question)
    page.locator("article.answer").wait_for()
    answer = page.get_by_role("button", name="Copy as curl")
    if not answer.is_visible():  # a problem: its request is made by hand
        text = page.evaluate(
            "async (q) => (await import('/page/snippets.js')).curl({ question: q })", question
        )
        program = None
    else:
        answer.click()
        page.get_by_text("on the clipboard").wait_for()
        text = page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name="Copy as Python").click()
        page.get_by_text("The program is on the clipboard").wait_for()
        program = page.evaluate("navigator.clipboard.readText()")
    expected = httpx.post(f"{server.url}/solve", json={"question": question}).json()
    ran = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout)
    assert (told.get("answer"), told.get("span")) == (expected.get("answer"), expected.get("span"))
    if program:
        ran = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert f"'answer': '{expected['answer']}'" in ran.stdout


def test_a_link_holds_the_question(page: Page) -> None:
    page.get_by_label("Solve exactly where the model is wrong").check()
    ask(page, "x/3 + 1 = 7 - x*2")
    page.locator("article.answer").wait_for()
    page.get_by_role("button", name="Copy link").click()
    page.get_by_text("The link is on the clipboard").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    page.goto("/info")
    page.goto(link)
    page.locator("article.answer").wait_for()
    assert page.get_by_label("Linear equation").input_value() == "x/3 + 1 = 7 - x*2"
    assert page.get_by_label("Solve exactly where the model is wrong").is_checked()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (429, "The queue is full"),
        (500, "The engine failed"),
        (503, "cannot take this now"),
        (504, "The deadline passed"),
    ],
)
def test_a_service_in_trouble_is_explained_and_asked_again(
    page: Page, status: int, says: str
) -> None:
    problem = {"type": "about:blank", "title": "-", "status": status, "detail": "-"}

    def trouble(route: Route) -> None:
        route.fulfill(status=status, json=problem, headers={"retry-after": "7"})

    page.route("**/solve", trouble, times=1)
    ask(page, "3x + 5 = 20")
    page.get_by_text(says).wait_for()
    assert "wait 7 s" in page.locator("article.answer").inner_text()
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Correct", exact=True).wait_for()


def test_no_connection_is_explained_and_tried_again(page: Page) -> None:
    page.context.set_offline(True)
    ask(page, "3x + 5 = 20")
    page.get_by_text("cannot be reached").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.get_by_text("Correct", exact=True).wait_for()


def test_a_model_that_solves_nothing_is_not_asked_to(page: Page) -> None:
    page.route(
        "**/info", lambda route: route.fulfill(json={**route.fetch().json(), "solves": False})
    )
    page.reload()
    page.get_by_label("Text for the model").wait_for()
    assert not page.get_by_label("Linear equation").is_visible()
    page.get_by_role("tab", name="Write").press("ArrowRight")
    assert page.get_by_role("tabpanel", name="Live").is_visible()


def test_what_a_stranger_puts_in_a_link_is_text(page: Page, watch: Watch) -> None:
    page.goto("/#q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%20%3D%201")
    page.locator(".fault mark").wait_for()
    assert page.locator("#outcome img").count() == 0
    assert "<img" in page.locator(".fault").inner_text()
