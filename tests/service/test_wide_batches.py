"""Batches whose texts take several rows each, and together more than the queue has."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.contracts import Tokens
from tests.fakes import WritingEngine
from tests.service.text import CODEC, NAME, TEXT, serve_text

BOUND_S = 30.0
TURNS = 200  # of the event loop, in which all that may be queued is queued
TEXTS = [f"{TEXT} {letter}" for letter in "abcdefghijklmnopqrst"]  # equal ones would share a job
INPUTS = [{"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}]
BEAMS = {"num_beams": 8}
COMPLETION = {"model": NAME, "prompt": TEXTS, "n": 8}


def answer_to(bundle: Path, path: str, body: dict[str, Any]) -> httpx.Response:
    """Return the answer of a service whose engine ends no step before the queue has its share."""
    entered, gate = threading.Event(), threading.Event()
    answers: list[httpx.Response] = []

    def hold(_: list[Tokens]) -> None:
        entered.set()
        assert gate.wait(BOUND_S), "nobody opened the gate"

    async def scenario(client: httpx.AsyncClient) -> None:
        asked = asyncio.create_task(client.post(path, json=body))
        assert await asyncio.to_thread(entered.wait, BOUND_S)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        gate.set()
        answers.append(await asked)

    engine = WritingEngine(CODEC, hold, rows=8)
    serve_text(bundle, scenario, engine, knobs={"max_queue": 32})
    return answers[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate", {"texts": TEXTS, **BEAMS}),
        ("/v1/completions", COMPLETION),
        ("/", {"inputs": TEXTS, "parameters": BEAMS}),
        (f"/v2/models/{NAME}/infer", {"inputs": INPUTS, "parameters": BEAMS}),
    ],
    ids=["generate", "completions", "hub", "infer"],
)
def test_a_wide_batch_does_not_fill_the_queue_by_itself(
    bundle: Path, path: str, body: dict[str, Any]
) -> None:
    """A 429 would refuse it on an idle service, and again at each retry."""
    answer = answer_to(bundle, path, body)
    assert answer.status_code == 200, answer.text
    assert "the queue is full" not in answer.text


def test_a_wide_stream_does_not_either(bundle: Path) -> None:
    answer = answer_to(bundle, "/v1/completions", {**COMPLETION, "stream": True})
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    assert "the queue is full" not in answer.text
