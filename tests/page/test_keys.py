"""The page where API keys are asked for, by the real service (`make browser-test`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from service.api.keys import new_key
from tests.end_to_end.conftest import START_S, Server, start
from tests.page.conftest import ask, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]
LINES = "3x + 5 = 20\n3x + = 20\n2x = 4"


@dataclass(frozen=True)
class Keys:
    """The file of keys that the service reads, and the one key in it."""

    file: Path
    key: str


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    key, entry = new_key("alice")
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(entry)
    return Keys(file, key)


@pytest.fixture(scope="module")
def server(keys: Keys) -> Iterator[Server]:
    """In place of the package's, which lets everybody in."""
    running = start(CYBERSOLVE_API_KEYS_FILE=str(keys.file))
    yield running
    running.stop()


def field(page: Page) -> Locator:
    return page.get_by_label("This service asks for an API key.")


def give(page: Page, key: str) -> None:
    field(page).fill(key)
    field(page).press("Enter")


def correct(page: Page) -> None:
    page.get_by_text("Correct", exact=True).wait_for()


def copied(page: Page, button: str, said: str) -> str:
    page.get_by_role("button", name=button).click()
    page.get_by_text(said).wait_for()
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def test_it_says_at_once_what_is_missing(page: Page, keys: Keys) -> None:
    field(page).wait_for()
    assert "kept until you close this tab" in page.get_by_role("form", name="API key").inner_text()
    give(page, keys.key)
    page.locator("#model").get_by_text(
        "cybersolve-mini"
    ).wait_for()  # what is served is for those who may ask it
    assert not field(page).is_visible()


def test_a_wrong_key_is_said_to_be_wrong(page: Page, keys: Keys) -> None:
    give(page, keys.key + "x")
    page.get_by_text("That key is not accepted.").wait_for()
    give(page, keys.key)
    ask(page, "3x + 5 = 20")
    correct(page)


@pytest.mark.parametrize("typed", ["  ", "cs_\N{ZERO WIDTH SPACE}key", "ключ"])
def test_what_cannot_be_a_key_is_not_sent(page: Page, keys: Keys, typed: str) -> None:
    """No header can hold it: the browser would not ask, and the page could not say why."""
    give(page, typed)
    assert field(page).evaluate("field => field.matches(':invalid')")
    assert page.evaluate("sessionStorage.getItem('key')") is None
    give(page, f" {keys.key} ")
    ask(page, "3x + 5 = 20")
    correct(page)


def test_who_has_no_key_is_told_and_may_give_one_later(page: Page, keys: Keys) -> None:
    page.get_by_role("button", name="Cancel").click()
    ask(page, "3x + 5 = 20")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("The service wants an API key").wait_for()
    page.get_by_role("button", name="Try again").click()
    give(page, keys.key)
    correct(page)
    page.locator("#model").get_by_text("cybersolve-mini").wait_for()


def test_a_batch_waits_for_the_key(page: Page, keys: Keys) -> None:
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("tab", name="Batch").click()
    page.get_by_label("Equations, one a line").fill(LINES)
    page.get_by_role("button", name="Solve all").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("The service wants an API key").first.wait_for()
    page.get_by_role("button", name="Solve the rest").click()
    give(page, keys.key)
    page.locator("#batch-rows tr[data-verdict=correct]").nth(1).wait_for()
    assert page.locator("#batch-rows mark").inner_text() == "="


def test_the_live_view_needs_no_key(page: Page, server: Server, keys: Keys) -> None:
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("tab", name="Live").click()
    page.locator(".columns").wait_for()
    bearer = {"authorization": f"Bearer {keys.key}"}
    for number in range(3):
        question = {"question": f"{number + 2}x = 6"}
        httpx.post(f"{server.url}/solve", json=question, headers=bearer).raise_for_status()
    verdicts = page.locator(".card").filter(has_text="Verdicts")
    page.wait_for_function(
        "(card) => parseFloat(card.querySelector('.large').textContent) >= 3",
        arg=verdicts.element_handle(),
    )
    assert not field(page).is_visible()


def test_the_key_is_in_headers_and_in_this_tab_alone(
    page: Page, server: Server, keys: Keys
) -> None:
    asked: list[Request] = []

    def note(request: Request) -> None:
        asked.append(request)

    page.on("request", note)
    give(page, keys.key)
    ask(page, "3x + 5 = 20")
    correct(page)
    page.goto("/docs")
    page.locator("#get--info").get_by_role("button", name="Ask").click()
    page.locator("#get--info").get_by_text("200 OK").wait_for()
    sent = [request.headers.get("authorization") for request in asked]
    assert f"Bearer {keys.key}" in sent
    assert all(request.url.startswith(server.url) for request in asked)
    for request in asked:
        assert keys.key not in request.url + str(request.post_data)
        assert keys.key not in request.headers.get("referer", "")
    assert page.evaluate("JSON.stringify({...localStorage})").count("key") == 0
    assert page.context.cookies() == []
    assert keys.key not in server.said()
    other = page.context.new_page()
    other.goto("/")
    field(other).wait_for()


def test_copied_commands_expect_the_key_and_do_not_hold_it(page: Page, keys: Keys) -> None:
    give(page, keys.key)
    ask(page, "3x + 5 = 20")
    correct(page)
    curl = copied(page, "Copy as curl", "on the clipboard")
    python = copied(page, "Copy as Python", "The program is on the clipboard")
    link = copied(page, "Copy link", "The link is on the clipboard")
    assert keys.key not in curl + python + link
    environment = {**os.environ, "API_KEY": keys.key}
    for command in (["bash", "-c", curl], [sys.executable, "-c", python]):
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        answer = ran.stdout.replace("'", '"').replace("None", "null")
        assert json.loads(answer)["answer"] == "5"
    ran = subprocess.run(
        ["bash", "-c", curl], capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert json.loads(ran.stdout)["status"] == 401


def test_a_key_that_was_withdrawn_is_asked_for_anew(page: Page, server: Server, keys: Keys) -> None:
    give(page, keys.key)
    ask(page, "3x + 5 = 20")
    correct(page)
    before = keys.file.read_text()
    key, entry = new_key("bob")
    keys.file.write_text(entry)
    await_status(server, key, 200)
    ask(page, "2x = 4")
    page.get_by_text("That key is not accepted.").wait_for()
    give(page, key)
    page.get_by_role("region", name="Answer", exact=True).get_by_text("2*x = 4").first.wait_for(
        state="attached"
    )
    correct(page)
    keys.file.write_text(before)
    await_status(server, keys.key, 200)


def await_status(server: Server, key: str, status: int) -> None:
    """The file is looked at once a second."""
    deadline = time.monotonic() + START_S
    headers = {"x-api-key": key}
    while httpx.get(f"{server.url}/info", headers=headers).status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)
