"""Callers of a real port while an engine's memory is full, and afterwards."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.bundle import TOKENIZER
from engine.contracts import OutOfMemory, Tokens
from engine.tokens import TextCodec
from tests.fakes import RightEngine, WritingEngine
from tests.service.sockets import BOUND_S, Wire, listen
from tests.service.test_generate import events
from tests.service.text import CODEC, NAME, TEXT, parts

DETAIL = "the engine's memory is full"
TENSOR = {"name": "question", "datatype": "BYTES", "shape": [1], "data": ["3x + 5 = 20"]}
Parts = Callable[[Path, "Memory"], dict[str, Any]]


class Memory:
    """The memory of an engine's device: steps of more than `rows` rows raise `OutOfMemory`."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __call__(self, active: list[Tokens]) -> None:
        if len(active) > self.rows:
            raise OutOfMemory("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc")


class Shrinking(Memory):
    """Has room for no row from the third step on."""

    def __call__(self, active: list[Tokens]) -> None:
        super().__call__(active)
        self.rows -= 1


def solving(bundle: Path, memory: Memory) -> dict[str, Any]:
    return {"engine": RightEngine(TextCodec(bundle / TOKENIZER), memory)}


def writing(bundle: Path, memory: Memory) -> dict[str, Any]:
    return parts(bundle, WritingEngine(CODEC, memory))


def listen_to(
    bundle: Path, scenario: Callable[[httpx.AsyncClient], Awaitable[None]], service: dict[str, Any]
) -> None:
    """Run `scenario` with a client of the service's port."""

    async def connected(wire: Wire) -> None:
        url = f"http://127.0.0.1:{wire.port}"
        async with httpx.AsyncClient(base_url=url, timeout=BOUND_S) as client:
            await scenario(client)

    listen(bundle, connected, **service)


def full(response: httpx.Response) -> object:
    """Check that a response says that the memory is full, and return its body."""
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    return response.json()


@pytest.mark.parametrize(
    ("service", "path", "body", "place"),
    [
        (solving, "/solve", {"question": "3x + 5 = 20"}, ["detail"]),
        (writing, "/generate", {"text": TEXT}, ["detail"]),
        (writing, "/generate", {"text": TEXT, "stream": True}, ["detail"]),
        (writing, "/v1/completions", {"model": NAME, "prompt": TEXT}, ["error", "message"]),
        (writing, "/", {"inputs": TEXT}, ["error"]),
        (solving, "/v2/models/tiny/infer", {"inputs": [TENSOR]}, ["error"]),
    ],
    ids=["solve", "generate", "stream", "completions", "hub", "infer"],
)
def test_a_full_memory_is_503_until_there_is_room(
    bundle: Path, service: Parts, path: str, body: object, place: list[str]
) -> None:
    memory = Memory(0)

    async def scenario(client: httpx.AsyncClient) -> None:
        for _ in range(3):
            said: Any = full(await client.post(path, json=body))
            for key in place:
                said = said[key]
            assert said == DETAIL
        # The engine is not lost, and the first step that fits is answered.
        assert (await client.get("/readyz")).status_code == 200
        memory.rows = 1
        assert (await client.post(path, json=body)).status_code == 200
        metrics = (await client.get("/metrics")).text
        assert 'status="503"} 3.0' in metrics
        assert 'engine_ends_total{reason="crashed"} 0.0' in metrics

    listen_to(bundle, scenario, service(bundle, memory))


def test_a_stream_that_has_begun_ends_with_an_error(bundle: Path) -> None:
    memory = Shrinking(3)

    async def scenario(client: httpx.AsyncClient) -> None:
        body = {"text": TEXT, "stream": True}
        response = await client.post("/generate", json=body)
        (kind, _), *_, (last, problem) = events(response.text)
        assert (kind, last) == ("message", "error")
        assert (problem["status"], problem["detail"]) == (503, DETAIL)
        memory.rows = 100
        *_, (last, _) = events((await client.post("/generate", json=body)).text)
        assert last == "done"

    listen_to(bundle, scenario, writing(bundle, memory))


def test_of_many_at_once_each_is_answered_or_503_and_with_retries_all_are(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        waiting = list(range(1, 33))
        while waiting:
            questions = [{"question": f"{number}x = {3 * number}"} for number in waiting]
            asked = (client.post("/solve", json=question) for question in questions)
            responses = await asyncio.gather(*asked)
            again = []
            for number, response in zip(waiting, responses, strict=True):
                if response.status_code == 200:
                    assert response.json()["answer"] == "3"
                else:
                    full(response)
                    again.append(number)
            waiting = again

    listen_to(bundle, scenario, solving(bundle, Memory(4)))


def test_a_batch_of_questions_has_503_for_those_that_were_lost(bundle: Path) -> None:
    memory = Memory(0)

    async def scenario(client: httpx.AsyncClient) -> None:
        questions = {"questions": ["x = 1", "2x = 4", "x + "]}
        results = (await client.post("/solve/batch", json=questions)).json()["results"]
        assert [one["status"] for one in results] == [503, 503, 422]
        assert results[0]["detail"] == DETAIL
        memory.rows = 2
        results = (await client.post("/solve/batch", json=questions)).json()["results"]
        assert [one.get("answer") for one in results] == ["1", "2", None]

    listen_to(bundle, scenario, solving(bundle, memory))


COMPLETION = {"model": NAME, "prompt": TEXT}
SAMPLES = {"do_sample": True, "num_return_sequences": 8}
INFERENCE = {
    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}],
    "parameters": {"num_beams": 8},
}


@pytest.mark.parametrize(
    ("path", "body", "status", "place"),
    [
        ("/generate", {"text": TEXT, "num_beams": 8}, 422, ["detail"]),
        ("/generate", {"text": TEXT, "num_beams": 8, "stream": True}, 422, ["detail"]),
        ("/generate", {"text": TEXT, **SAMPLES}, 422, ["detail"]),
        ("/v1/completions", {**COMPLETION, "best_of": 8}, 422, ["error", "message"]),
        ("/v1/completions", {**COMPLETION, "n": 8, "stream": True}, 422, ["error", "message"]),
        ("/", {"inputs": TEXT, "parameters": {"num_beams": 8}}, 422, ["error"]),
        (f"/v2/models/{NAME}/infer", INFERENCE, 400, ["error"]),
    ],
    ids=["beams", "stream", "samples", "best_of", "stream of n", "hub", "infer"],
)
def test_more_rows_than_the_memory_holds_are_refused_for_good(
    bundle: Path, path: str, body: object, status: int, place: list[str]
) -> None:
    """The settings allow 16 rows, but the engine found memory for 4: no retry can help."""

    async def scenario(client: httpx.AsyncClient) -> None:
        refused = await client.post(path, json=body)
        assert refused.status_code == status
        assert "retry-after" not in refused.headers
        said: Any = refused.json()
        for key in place:
            said = said[key]
        assert said == "8 beams or samples; an engine decodes at most 4 rows"
        four = json.loads(json.dumps(body).replace("8", "4"))
        assert (await client.post(path, json=four)).status_code == 200
        assert "cybersolve_rows 4.0" in (await client.get("/metrics")).text

    service = parts(bundle, WritingEngine(CODEC, rows=4))
    listen_to(bundle, scenario, {**service, "max_batch_rows": 16})


def test_each_text_of_a_batch_says_that_its_rows_do_not_fit(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = {"texts": [TEXT, TEXT], "num_beams": 8}
        results = (await client.post("/generate", json=body)).json()["results"]
        assert [one["status"] for one in results] == [422, 422]
        assert {one["detail"] for one in results} == {
            "8 beams or samples; an engine decodes at most 4 rows"
        }

    service = parts(bundle, WritingEngine(CODEC, rows=4))
    listen_to(bundle, scenario, {**service, "max_batch_rows": 16})
