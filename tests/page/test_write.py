"""A text for a text, where the served model writes text (`make browser-test`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.conftest import shared_folder
from tests.end_to_end.conftest import Server, start
from tests.page.conftest import unavailable
from tests.phrases import TEXT, write_phrases_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = shared_folder(
        tmp_path_factory, "phrases", lambda folder: write_phrases_bundle(folder / "bundle")
    )
    running = start(CYBERSOLVE_MODEL=str(folder / "bundle"))
    yield running
    running.stop()


def write(page: Page, text: str) -> None:
    page.get_by_label("Text for the model").fill(text)
    page.get_by_role("button", name="Write").click()
    page.locator("#written[aria-busy=false] dl").wait_for()


def test_a_text_is_written_and_explained(page: Page) -> None:
    assert page.get_by_role("tab", name="Write").is_visible()
    assert not page.get_by_role("tab", name="Batch").is_visible()
    write(page, TEXT)
    outcome = page.get_by_role("region", name="Answer", exact=True)
    assert outcome.locator(".written").inner_text() == "Das Haus ist klein."
    assert "the model ended it" in outcome.inner_text()


def test_settings_are_sent_and_the_other_answers_shown(page: Page) -> None:
    page.get_by_text("Settings").click()
    page.get_by_label("Beams").fill("4")
    page.get_by_role("spinbutton", name="Answers").fill("2")
    write(page, TEXT)
    others = page.get_by_role("list", name="Other answers")
    assert others.inner_text() == "Das Haus ist winzig."
    page.get_by_label("Sample, rather").check()
    page.get_by_label("Seed").fill("1")
    page.get_by_role("spinbutton", name="Answers").fill("")
    write(page, TEXT)
    assert page.locator("dt", has_text="Seed").locator("+ dd").inner_text() == "1"


def test_what_is_refused_and_not_read_is_said(page: Page) -> None:
    write(page, f"{TEXT} {{")
    assert "The vocabulary does not have {" in page.locator("#written").inner_text()
    page.get_by_text("Settings").click()
    page.get_by_label("Beams").fill("17")
    page.get_by_role("button", name="Write").click()
    page.get_by_text("The service refuses this: num_beams is 17; expected 1 to 16.").wait_for()
