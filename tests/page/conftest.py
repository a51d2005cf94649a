"""The page in Debian's Chromium, against a server of its own with the bundled model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.conftest import Server, start

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Without these it looks for hosts of its own at every start; as root it has no sandbox.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


@dataclass
class Watch:
    """The faults of a page. A status that a test provokes is none."""

    origin: str
    faults: list[str] = field(default_factory=list)
    metrics_asked: int = 0

    def console(self, message: ConsoleMessage) -> None:
        provoked = "Failed to load resource" in message.text
        if message.type in ("error", "warning") and not provoked:
            self.faults.append(f"console: {message.text}")

    def request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        self.metrics_asked += parts.path == "/metrics"
        own = f"{parts.scheme}://{parts.netloc}" == self.origin or parts.scheme == "blob"
        if not own:
            self.faults.append(f"asked {request.url}")


def unavailable() -> str:
    """Return the reason why the browser tests cannot run here; empty if they can."""
    if CHROMIUM is None:
        return "needs Chromium (Debian's package `chromium`)"
    return "" if find_spec("playwright") else "needs playwright (make browser-test)"


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    running = start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: playwright runs an event loop here, and other tests need their own."""
    if reason := unavailable():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def watch(server: Server) -> Watch:
    return Watch(server.url)


@pytest.fixture
def page(browser: Browser, server: Server, watch: Watch) -> Iterator[Page]:
    """A new page at `/`; at the end it must have broken no rule and reported no error."""
    context = browser.new_context(base_url=server.url, viewport={"width": 1180, "height": 860})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened = context.new_page()
    opened.on("console", watch.console)
    opened.on("pageerror", lambda error: watch.faults.append(f"error: {error}"))
    opened.on("request", watch.request)
    opened.goto("/")
    yield opened
    context.close()
    assert not watch.faults


def ask(page: Page, question: str) -> None:
    """Types a question and presses Enter."""
    page.get_by_label("Linear equation").fill(question)
    page.get_by_label("Linear equation").press("Enter")
