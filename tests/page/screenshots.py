"""Draws docs/images/page-*.png with the real page, server and model: `make screenshots`.

Debian's fonts-inter and fonts-urw-base35 stand in for the fonts of other systems.
"""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from loadtest.workload import question
from tests.end_to_end.conftest import ROOT, start
from tests.page.conftest import CHROMIUM, QUIET, ask, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FOLDER = ROOT / "docs" / "images"
MOST_BYTES = 150_000
LIVE_POINTS = 28  # of the charts, two seconds each
SLIPS = ["3x + = 20", "x + 1 = x + 2", "2(y - 1 = 4"]


def main() -> None:
    if reason := unavailable():
        sys.exit(reason)
    from playwright.sync_api import sync_playwright

    server = start()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        draw(chromium, server.url)
    server.stop()


def draw(browser: Browser, url: str) -> None:
    page = opened(browser, url, "light")
    ask(page, "3x + 5 = 20")  # the first request of a page takes longer
    page.locator("article.answer").wait_for()
    page.locator("#outcome").evaluate("outcome => outcome.replaceChildren()")
    ask(page, "2(x − 1) = 4x + 10")
    page.locator("article.answer").wait_for()
    save(page, "light")
    page = opened(browser, url, "dark", height=720)
    ask(page, "7(y + 2) = 5y − = 4")
    page.locator("mark").wait_for()
    save(page, "dark")
    page = opened(browser, url, "light", height=1120)
    batch(page)
    save(page, "batch")
    page = opened(browser, url, "light", width=360, height=900, is_mobile=True, has_touch=True)
    ask(page, "Solve 24 = 1601*c - 1605*c for c.")
    page.locator("article.answer").wait_for()
    save(page, "phone")
    page = opened(browser, url, "dark", height=800)
    page.get_by_role("tab", name="Live").click()
    live(page, url)
    save(page, "live")


def opened(browser: Browser, url: str, scheme: Any, **screen: Any) -> Page:
    size = {"width": screen.pop("width", 1080), "height": screen.pop("height", 960)}
    context = browser.new_context(
        base_url=url,
        color_scheme=scheme,
        viewport=size,
        device_scale_factor=2,
        reduced_motion="reduce",
        **screen,
    )
    page = context.new_page()
    page.goto("/")
    page.get_by_text("ready", exact=True).wait_for()
    return page


def batch(page: Page) -> None:
    page.get_by_role("tab", name="Batch").click()
    random = Random(7)
    lines = [question(random) for _ in range(40)]
    lines[3:3] = SLIPS
    page.get_by_label("Equations, one a line").fill("\n".join(lines))
    page.get_by_role("button", name="Solve all").click()
    page.get_by_text("Done:").wait_for()
    page.get_by_label("Equations, one a line").evaluate("lines => lines.scrollTo(0, 0)")


def live(page: Page, url: str) -> None:
    """Some callers, now more and now fewer of them, until the charts are full."""
    full = threading.Event()
    callers = [threading.Thread(target=call, args=(url, seed, full)) for seed in range(8)]
    for caller in callers:
        caller.start()
    try:
        page.wait_for_function(
            "(n) => (document.querySelector('path.good')?.getAttribute('d')?.match(/L/g)"
            " ?? []).length > n",
            arg=LIVE_POINTS,
            timeout=120_000,
        )
    finally:
        full.set()
        for caller in callers:
            caller.join()


def call(url: str, seed: int, full: threading.Event) -> None:
    random = Random(seed)
    with httpx.Client(base_url=url, timeout=60) as client:
        while not full.wait(random.expovariate(6)):
            for _ in range(random.randint(1, 6)):
                client.post("/solve", json={"question": question(random)})
            if random.random() < 0.2:
                client.post("/solve", json={"question": random.choice(SLIPS)})


def save(page: Page, name: str) -> None:
    """256 colours are enough for a page of few."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    path: Path = FOLDER / f"page-{name}.png"
    picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    assert size < MOST_BYTES, f"{path.name} has {size} bytes"
    print(f"{path.relative_to(ROOT)}: {size} bytes")


if __name__ == "__main__":
    main()
