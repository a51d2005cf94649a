"""The examples of the API's documentation, asked of the bundled model, are answered as they say."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from service.api.example import Example
from service.api.examples import EXAMPLES
from tests.end_to_end.conftest import Server

MODEL = {"model_name": "cybersolve-mini", "model_version": "2.1.0"}
CASES = [(path, example) for path, examples in EXAMPLES.items() for example in examples]


def steady(body: Any) -> Any:
    """Without what differs from one time to the next, or is too long to show.

    Confidences differ in their last digits from one kind of processor to another.
    """
    if isinstance(body, list):
        return [steady(each) for each in body]
    if isinstance(body, dict):
        return {
            key: sorted(value) if key == "timing_ms" else steady(value)
            for key, value in body.items()
            if key not in ("provenance", "created")
        }
    if isinstance(body, str) and body.startswith("cmpl-"):
        return "cmpl-"
    return round(body, 1) if isinstance(body, float) else body


def events(text: str) -> list[Any]:
    """Lines, with what is JSON in them read."""
    lines = [line.partition(": ") for line in text.splitlines()]
    return [json.loads(value) if name == "data" else (name, value) for name, _, value in lines]


@pytest.mark.parametrize(("path", "example"), CASES, ids=lambda case: getattr(case, "name", case))
def test_an_example_is_answered_as_it_says(server: Server, path: str, example: Example) -> None:
    method = "GET" if example.request is None else "POST"
    url = server.url + path.format_map(MODEL)
    response = httpx.request(method, url, json=example.request)
    assert response.status_code == example.status
    kind = response.headers["content-type"].partition(";")[0]
    assert kind in (example.media_type, "application/problem+json")
    if kind == "text/event-stream":
        said, shown = events(response.text), events(example.response)
    else:
        said, shown = response.json(), example.response
    assert steady(said) == steady(shown)


def test_the_metrics_have_the_line_that_is_shown(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    shown = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]["text/plain"]
    assert shown["example"] in httpx.get(f"{server.url}/metrics").text.splitlines()
