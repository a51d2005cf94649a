"""Whom the page serves: themes, keyboards, phones, screen readers (`make browser-test`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.conftest import Server
from tests.page.conftest import ask, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]
VIEWS = ("solve", "fault", "batch", "live", "docs", "key")


def show(page: Page, view: str) -> None:
    """Bring one state of the page on the screen, with content in it."""
    if view == "solve":
        ask(page, "3x + 5 = 20")
        page.locator("article.answer").wait_for()
        page.get_by_text("Raw JSON").click()
    elif view == "fault":
        ask(page, "3x + = 20")
        page.locator("mark").wait_for()
    elif view == "batch":
        page.get_by_role("tab", name="Batch").click()
        page.get_by_label("Equations, one a line").fill("3x + 5 = 20\nx = x\n3x = 8\n3x +")
        page.get_by_role("button", name="Solve all").click()
        page.get_by_text("Done:").wait_for()
    elif view == "live":
        page.get_by_role("tab", name="Live").click()
        page.locator(".columns").wait_for()
    elif view == "docs":
        page.goto("/docs")
        page.locator(".route").first.wait_for()
        page.locator("details").evaluate_all("all => all.forEach((one) => (one.open = true))")
    elif view == "key":
        page.route("**/solve", lambda route: route.fulfill(status=401, json={"detail": "-"}))
        ask(page, "3x + 5 = 20")
        page.get_by_text("asks for an API key").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(browser: Browser, server: Server, view: str, scheme: str) -> None:
    """WCAG 2.2 A and AA and axe's own good practice, contrast included."""
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(base_url=server.url, color_scheme=scheme, reduced_motion="reduce")
    page = context.new_page()
    page.goto("/")
    show(page, view)
    results = Axe().run(page)
    assert not results.response["violations"], results.generate_report()
    context.close()


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_of_360_pixels_shows_it_all(browser: Browser, server: Server, view: str) -> None:
    context = browser.new_context(
        base_url=server.url,
        viewport={"width": 360, "height": 740},
        is_mobile=True,
        has_touch=True,
    )
    page = context.new_page()
    page.goto("/")
    show(page, view)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.locator("button:visible, select:visible, summary:visible").evaluate_all(
        "all => all.map((e) => [e.textContent, e.getBoundingClientRect().height])"
    )
    assert [name for name, height in small if height < 24] == []  # WCAG 2.5.8
    context.close()


def test_a_phone_shows_the_verdicts_of_a_batch(browser: Browser, server: Server) -> None:
    context = browser.new_context(
        base_url=server.url, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True
    )
    page = context.new_page()
    page.goto("/")
    page.get_by_role("tab", name="Batch").click()
    lines = ["Solve 24 = 1601*c - 1605*c for c.", "x = x + 1", "3x = 8", "3x + = 20"]
    page.get_by_label("Equations, one a line").fill("\n".join(lines))
    page.get_by_role("button", name="Solve all").click()
    page.get_by_text("Done:").wait_for()
    table = page.locator(".table")
    assert table.evaluate("t => t.scrollWidth <= t.clientWidth")
    for badge in page.locator("#batch-rows .badge").all():
        box = badge.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 360
    assert page.locator("#batch-rows .badge").count() == 4
    context.close()


def background(page: Page) -> str:
    color: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return color


def test_the_theme_is_the_system_s_until_one_is_chosen(browser: Browser, server: Server) -> None:
    context = browser.new_context(base_url=server.url, color_scheme="dark")
    page = context.new_page()
    page.goto("/")
    dark = background(page)
    toggle = page.get_by_role("button", name="Dark theme")
    assert toggle.get_attribute("aria-pressed") == "true"
    page.emulate_media(color_scheme="light")
    light = background(page)
    assert light != dark
    toggle.click()
    assert background(page) == dark
    for path in ("/", "/docs"):
        page.goto(path)
        assert background(page) == dark
        assert page.get_by_role("button", name="Dark theme").get_attribute("aria-pressed") == "true"
    context.close()


def test_the_keyboard_is_enough(page: Page) -> None:
    """A slash finds the field, Enter solves, arrows change views, every stop is visible."""
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    page.keyboard.type("3x + 5 = 20")
    page.keyboard.press("Enter")
    page.get_by_text("Correct", exact=True).wait_for()
    page.keyboard.press("Tab")
    focused = "document.activeElement"
    assert page.evaluate(f"{focused}.id") == "ask-button"
    style = page.evaluate(f"getComputedStyle({focused}).outlineStyle")
    assert style == "solid"
    page.get_by_role("tab", name="Solve").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tabpanel", name="Batch").is_visible()
    page.keyboard.press("Tab")
    for _ in range(10):
        if page.evaluate(f"{focused}.id") == "lines":
            break
        page.keyboard.press("Tab")
    page.keyboard.type("3x = 12")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Done: 1 line").wait_for()
    page.get_by_role("tab", name="Batch").focus()
    page.keyboard.press("End")
    assert page.get_by_role("tabpanel", name="Live").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tabpanel", name="Solve").is_visible()


def test_a_new_answer_is_announced(page: Page) -> None:
    region = page.get_by_role("region", name="Answer", exact=True)
    assert region.get_attribute("aria-live") == "polite"
    ask(page, "3x + 5 = 20")
    region.get_by_text("Correct", exact=True).wait_for()
    assert region.get_attribute("aria-busy") == "false"


def test_nothing_moves_while_the_page_loads_and_answers(page: Page) -> None:
    """Layout shift as browsers measure it; 0.1 is called good."""
    ask(page, "3x + 5 = 20")
    page.get_by_text("Correct", exact=True).wait_for()
    shift = page.evaluate(
        """() => new Promise((resolve) => {
          const total = (list) => list.getEntries().reduce((sum, { value }) => sum + value, 0);
          const observer = new PerformanceObserver((list) => resolve(total(list)));
          observer.observe({ type: "layout-shift", buffered: true });
          setTimeout(resolve, 500, 0); // nothing has moved: the observer stays silent
        })"""
    )
    assert shift < 0.01


def test_reduced_motion_stops_animations(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    ask(page, "3x + 5 = 20")
    answer = page.locator("article.answer")
    assert answer.evaluate("e => getComputedStyle(e).animationName") == "none"
    page.emulate_media(reduced_motion="no-preference")
    assert answer.evaluate("e => getComputedStyle(e).animationName") == "arrive"


@pytest.mark.parametrize(("element", "part"), [(".outcome", "::before"), (".cards", "")])
def test_reduced_motion_stops_transitions(page: Page, element: str, part: str) -> None:
    page.emulate_media(reduced_motion="reduce")
    style = f"e => getComputedStyle(e, {part!r} || null).transitionProperty"
    page.locator(element).first.evaluate("e => e.setAttribute('aria-busy', 'true')")
    assert page.locator(element).first.evaluate(style) == "none"


def test_the_reference_shows_every_route_and_asks_it(page: Page) -> None:
    page.goto("/docs")
    page.locator(".route").first.wait_for()
    paths = page.evaluate(
        "fetch('/openapi.json').then((r) => r.json()).then((d) => Object.keys(d.paths))"
    )
    assert page.locator(".route h2 code").all_inner_texts() == paths
    solve = page.locator("#post--solve")
    assert "timeout_ms" in solve.inner_text() or solve.get_by_text("It takes").is_visible()
    solve.get_by_text("It takes").click()
    assert "timeout_ms" in solve.inner_text()
    solve.get_by_role("button", name="Send").click()
    solve.locator(".raw").wait_for()
    assert '"answer": "-6"' in solve.locator(".raw").inner_text()
    assert "x-total-time" in solve.locator(".raw").inner_text()
