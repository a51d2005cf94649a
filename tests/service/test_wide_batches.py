"""Batches whose texts take several rows each, and together more than the queue has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import WritingEngine
from tests.service.text import CODEC, NAME, TEXT, serve_text

TEXTS = [TEXT] * 20
INPUTS = [{"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}]
BEAMS = {"num_beams": 8}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/generate", {"texts": TEXTS, **BEAMS}),
        ("/v1/completions", {"model": NAME, "prompt": TEXTS, "n": 8}),
        ("/", {"inputs": TEXTS, "parameters": BEAMS}),
        (f"/v2/models/{NAME}/infer", {"inputs": INPUTS, "parameters": BEAMS}),
    ],
    ids=["generate", "completions", "hub", "infer"],
)
def test_a_wide_batch_does_not_fill_the_queue_by_itself(
    bundle: Path, path: str, body: dict[str, Any]
) -> None:
    """With 429 it would be refused on an idle service, and again at each retry."""

    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert "queue_full" not in answer.text

    engine = WritingEngine(CODEC, rows=8)
    serve_text(bundle, scenario, engine, knobs={"max_queue": 32})


def test_a_wide_stream_does_not_either(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = {"model": NAME, "prompt": TEXTS, "n": 8, "stream": True}
        answer = await client.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.text.endswith("data: [DONE]\n\n")
        assert '"error"' not in answer.text

    serve_text(bundle, scenario, WritingEngine(CODEC, rows=8), knobs={"max_queue": 32})
