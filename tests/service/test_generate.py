"""`POST /generate`: any text to text, whole and as it is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.bundle import TOKENIZER, load_manifest
from engine.contracts import Answer, Progress
from engine.echo import EchoEngine
from engine.tokens import TextCodec
from equations.formats import FORMATS
from tests.service.app import of_another_task, problem, serve

TEXT = FORMATS["digits"].encode("12*x + 3 = 4")  # the tokenizer's language


def spelled(bundle: Path, text: str) -> str:
    """Return the answer of an echoing engine: the text as the tokenizer normalises it."""
    codec = TextCodec(bundle / TOKENIZER)
    return codec.decode(codec.encode(text))


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the name and the data of each event of a stream."""
    found = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields.get("event", "message"), json.loads(fields["data"])))
    return found


def test_the_whole_text(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/generate", json={"text": TEXT})
        body = response.json()
        assert body["text"] == spelled(bundle, TEXT)
        assert body["finish_reason"] == "end"
        assert body["model"]["name"] == load_manifest(bundle).name
        assert float(response.headers["x-total-time"]) == body["timing_ms"]["total"]

    serve(bundle, scenario, engine=EchoEngine())


def test_a_stream_has_the_same_text_in_pieces(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        whole = (await client.post("/generate", json={"text": TEXT})).json()
        response = await client.post("/generate", json={"text": TEXT, "stream": True})
        assert response.headers["content-type"].startswith("text/event-stream")
        *pieces, (name, last) = events(response.text)
        assert name == "done"
        assert {name for name, _ in pieces} == {"message"}
        assert "".join(str(piece["text"]) for _, piece in pieces) == last["text"] == whole["text"]
        assert len(pieces) > 1
        assert {**last, "timing_ms": 0} == {**whole, "timing_ms": 0}

    serve(bundle, scenario, engine=EchoEngine())


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"text": "1 " * 10_000}, "characters; the model reads at most"),
        ({"text": f"{TEXT} " * 60}, "tokens; the model reads at most"),
        ({"text": TEXT, "max_new_tokens": 10_000}, "the model writes at most"),
        ({"text": ""}, "the body is not what the route takes"),
    ],
)
def test_what_is_too_long_is_refused_with_a_status(
    bundle: Path, body: dict[str, object], detail: str, stream: bool
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/generate", json={**body, "stream": stream})
        assert detail in problem(response, 422)["detail"]

    serve(bundle, scenario, engine=EchoEngine())


def test_a_failure_after_the_first_piece_is_an_event(bundle: Path) -> None:
    steps = 0

    def fail_later(_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise RuntimeError("secret internals")

    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/generate", json={"text": TEXT, "stream": True})
        assert response.status_code == 200
        name, last = events(response.text)[-1]
        assert (name, last["status"]) == ("error", 500)
        assert "secret" not in response.text
        assert last["request_id"] == response.headers["x-request-id"]

    serve(bundle, scenario, engine=EchoEngine(fail_later))


def test_a_model_of_another_task_has_no_solve(bundle: Path, tmp_path: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/info")).json()["solves"] is False
        problem(await client.post("/solve", json={"question": "x = 1"}), 404)
        assert (await client.post("/generate", json={"text": TEXT})).status_code == 200

    serve(of_another_task(bundle, tmp_path), scenario, engine=EchoEngine())


class Endless(EchoEngine):
    """Writes one of its source's tokens after the other, and comes to no end."""

    def written(self, key: Hashable, since: int) -> Progress:
        source = self._prompts[key].source
        return Progress([source[since % (len(source) - 1)]], [0.0], [])

    def step(self) -> dict[Hashable, Answer]:
        return {}


async def metrics(client: httpx.AsyncClient) -> str:
    return (await client.get("/metrics")).text


def test_a_stream_that_is_left_frees_its_row(bundle: Path) -> None:
    """Asked over ASGI: the client says it is gone after the first piece."""
    engine = Endless(rows=1)

    async def scenario(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        body = json.dumps({"text": TEXT, "stream": True}).encode()
        left = asyncio.Event()
        received = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> dict[str, object]:
            message = next(received, None)
            if message is None:
                await left.wait()
                return {"type": "http.disconnect"}
            return message

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                left.set()

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "path": "/generate", "raw_path": b"/generate", "query_string": b"", "scheme": "http",
            "headers": [(b"content-type", b"application/json")], "server": ("test", 80),
            "client": ("test", 1), "root_path": "",
        }  # fmt: skip
        await app(scope, receive, send)
        while 'cybersolve_abandoned_total{reason="left"} 1.0' not in await metrics(client):
            await asyncio.sleep(0.001)
        assert app.state.runtime.batcher.engines_up == 1

    serve(bundle, scenario, engine=engine)
