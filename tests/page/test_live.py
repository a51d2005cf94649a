"""The live view: what it makes of the metrics, and when it asks (`make browser-test`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.end_to_end.conftest import Server
from tests.page.conftest import Watch, unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
]
TEXT = r"""# TYPE cybersolve_requests_total counter
cybersolve_requests_total{route="/solve",status="200"} 5.0
cybersolve_requests_total{route="/a\"b\\c\n",status="422"} 2.0
cybersolve_queue_depth 3.0
cybersolve_wait_bucket{le="0.1"} 1.0
cybersolve_wait_bucket{le="1.0"} 1e+01
cybersolve_wait_bucket{le="+Inf"} 12.0
"""


def card(page: Page, title: str) -> Any:
    heading = page.get_by_role("heading", name=title, exact=True)
    return page.locator(".card").filter(has=heading)


def until(page: Page, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument, timeout=30_000)


LARGE = "([title, least]) => [...document.querySelectorAll('.card')].some((c) =>"
LARGE += " c.querySelector('h2').textContent === title &&"
LARGE += " parseFloat(c.querySelector('.large').textContent.replace(',', '')) >= least)"


def test_real_traffic_is_seen(page: Page, server: Server) -> None:
    page.get_by_role("tab", name="Live").click()
    until(page, LARGE, ["Requests", 0])  # two samples were taken
    with httpx.Client(base_url=server.url) as client:
        for number in range(40):
            client.post("/solve", json={"question": f"{number + 2}x + 7 = {number}"})
        client.post("/solve", json={"question": "3x + = 2"})
        client.post("/solve/batch", json={"questions": [f"7x = {7 * n}" for n in range(40)]})
    until(page, LARGE, ["Latency of /solve", 0.01])
    until(page, LARGE, ["Verdicts", 80])
    until(page, LARGE, ["Batch sizes", 1])
    latency = card(page, "Latency of /solve")
    values = [text.split()[1] for text in latency.locator(".legend li").all_inner_texts()]
    p50, p95, p99 = map(float, values)
    assert 0 < p50 <= p95 <= p99
    assert "p95" in latency.get_by_role("img").get_attribute("aria-label")
    queue = card(page, "Queue")
    assert "1,024" in queue.inner_text()
    assert "rows: " in card(page, "Batch sizes").get_by_role("img").get_attribute("aria-label")
    drawn = card(page, "Requests").locator("path.good").get_attribute("d")
    assert drawn.startswith("M")
    assert "while you look" in card(page, "Verdicts").inner_text()


def test_answers_that_were_reused_are_shown(page: Page, server: Server) -> None:
    page.get_by_role("tab", name="Live").click()
    until(page, LARGE, ["Requests", 0])
    with httpx.Client(base_url=server.url) as client:
        for _ in range(10):
            client.post("/solve", json={"question": "19x + 19 = 57"})
    until(page, "() => /answers reused [1-9]\\d*%/.test(document.body.innerText)")


def test_it_asks_only_while_somebody_looks(page: Page, watch: Watch) -> None:
    assert watch.metrics_asked == 0
    page.get_by_role("tab", name="Live").click()
    until(page, LARGE, ["Requests", 0])
    page.get_by_role("button", name="Pause").click()
    page.wait_for_load_state("networkidle")
    assert (asked := watch.metrics_asked) >= 2
    page.clock.install()  # the browser's clock, so that a minute takes none
    page.clock.run_for(60_000)
    assert watch.metrics_asked == asked
    page.get_by_role("button", name="Go on").click()
    page.wait_for_function("() => document.getElementById('live-pause').textContent === 'Pause'")
    page.get_by_role("tab", name="Solve").click()
    page.wait_for_load_state("networkidle")
    asked = watch.metrics_asked
    page.clock.run_for(60_000)
    assert watch.metrics_asked == asked


def test_a_hidden_page_asks_for_nothing(page: Page, watch: Watch) -> None:
    page.get_by_role("tab", name="Live").click()
    until(page, LARGE, ["Requests", 0])
    hide = """(hidden) => {
      Object.defineProperty(document, "hidden", { configurable: true, value: hidden });
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    page.wait_for_load_state("networkidle")
    asked = watch.metrics_asked
    page.clock.install()
    page.clock.run_for(60_000)
    assert watch.metrics_asked == asked
    with page.expect_response("**/metrics"):
        page.evaluate(hide, False)


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (404, "", "The metrics are not open here (status 404)"),
        (403, "", "The metrics are not open here (status 403)"),
        (200, "some_other_metric 1.0\n", "not this service's metrics"),
    ],
)
def test_metrics_that_are_elsewhere_are_missed_in_words(
    page: Page, status: int, body: str, says: str
) -> None:
    page.route("**/metrics", lambda route: route.fulfill(status=status, body=body))
    page.get_by_role("tab", name="Live").click()
    page.get_by_text(says).wait_for()


def test_metrics_for_which_nobody_has_a_key_are_left_alone(page: Page, watch: Watch) -> None:
    problem = {"status": 401, "title": "-", "detail": "no key"}
    page.route("**/metrics", lambda route: route.fulfill(status=401, json=problem))
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("The metrics are not open here (status 401)").wait_for()
    assert page.get_by_role("button", name="Go on").is_visible()
    assert watch.metrics_asked == 1


def test_metrics_that_come_back_are_drawn_again(page: Page) -> None:
    page.route("**/metrics", lambda route: route.abort(), times=1)
    page.get_by_role("tab", name="Live").click()
    page.get_by_text("cannot be reached").wait_for()
    until(page, LARGE, ["Requests", 0])
    assert page.get_by_text("Every two seconds").is_visible()


def prometheus(page: Page, body: str, argument: Any = None) -> Any:
    script = f"async (given) => {{ const p = await import('/page/prometheus.js'); {body} }}"
    return page.evaluate(script, argument)


def test_the_text_format_is_read(page: Page) -> None:
    read = """const samples = p.parse(given);
      return [samples.size, p.total(samples, "cybersolve_requests_total"),
        p.total(samples, "cybersolve_requests_total", (l) => l.route === '/a"b\\\\c\\n'),
        p.total(samples, "nothing"), p.buckets(samples, "cybersolve_wait")
          .map(([bound, count]) => [String(bound), count])];"""
    assert prometheus(page, read, TEXT) == [
        6, 7, 2, None, [["0.1", 1], ["1", 10], ["Infinity", 12]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("q", "counts", "expected"),
    [  # as histogram_quantile: linear in a bucket, from 0 in the first, never beyond the last bound
        (0.5, [(0.1, 10), (1.0, 10), ("inf", 10)], 0.05),
        (0.5, [(0.1, 0), (1.0, 10), ("inf", 10)], 0.55),
        (0.99, [(0.1, 50), (1.0, 100), ("inf", 100)], 0.982),
        (0.99, [(0.1, 50), (1.0, 90), ("inf", 100)], 1.0),
        (0.5, [(0.1, 0), (1.0, 0), ("inf", 0)], None),
        (0.5, [(0.0, 8), (1.0, 10), ("inf", 10)], 0.0),
        (0.5, [], None),
    ],
)
def test_quantiles_are_those_of_prometheus(
    page: Page, q: float, counts: list[tuple[float | str, int]], expected: float | None
) -> None:
    body = """const [q, counts] = given;
      return p.quantile(q, counts.map(([le, n]) => [le === "inf" ? Infinity : le, n]));"""
    found = prometheus(page, body, [q, counts])
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_counter_that_fell_was_reset(page: Page) -> None:
    body = """const grown = p.increase(p.parse("a 10\\nb 4\\n"), p.parse("a 12\\nb 1\\nc 3\\n"));
      return [...grown.values()].map(({ value }) => value);"""
    assert prometheus(page, body) == [2, 1, 3]
