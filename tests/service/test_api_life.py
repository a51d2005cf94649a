"""The HTTP contract: before, at and after the limits of what the service can do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from itertools import count
from pathlib import Path

import httpx

from engine.bundle import TOKENIZER
from engine.contracts import Tokens
from engine.echo import EchoEngine
from engine.tokens import TextCodec
from service.hosting.thread import ThreadHost
from tests.fakes import RightEngine
from tests.service.app import LIMITS, Held, Loading, problem, serve


def test_an_engine_failure_shows_an_id_and_no_internals(bundle: Path) -> None:
    broken = False

    def break_later(_: list[Tokens]) -> None:
        if broken:
            raise RuntimeError("secret internals")

    engine = RightEngine(TextCodec(bundle / TOKENIZER), break_later)

    async def scenario(client: httpx.AsyncClient) -> None:
        nonlocal broken
        broken = True
        response = await client.post("/solve", json={"question": "x = 1"})
        body = problem(response, 500)
        assert body["request_id"] == response.headers["x-request-id"]
        assert "secret" not in response.text
        broken = False
        assert (await client.post("/solve", json={"question": "x = 1"})).status_code == 200

    serve(bundle, scenario, engine=engine)


def test_a_full_queue_is_429_and_says_when_to_come_back(bundle: Path) -> None:
    engine = Held(bundle, rows=1)

    async def scenario(client: httpx.AsyncClient) -> None:
        def ask(number: int) -> Awaitable[httpx.Response]:
            """Another question each: equal ones share a place."""
            return client.post("/solve", json={"question": f"x = {number}"})

        running = asyncio.ensure_future(ask(0))
        await engine.holds_a_step()
        waiting = [asyncio.ensure_future(ask(number)) for number in (1, 2)]
        while "queue_depth 2.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.001)
        refused = await ask(3)
        problem(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        unread = await client.post("/solve", content=b"no JSON")
        problem(unread, 429)
        engine.gate.set()
        answers = await asyncio.gather(running, *waiting)
        assert [answer.status_code for answer in answers] == [200] * 3
        text = (await client.get("/metrics")).text
        # Also who was refused before there was a route to ask.
        assert 'cybersolve_requests_total{route="/solve",status="429"} 2.0' in text
        assert 'cybersolve_rejected_total{reason="queue_full"} 2.0' in text
        assert 'cybersolve_requests_total{route="/solve",status="429"} 2.0' in text

    serve(bundle, scenario, engine=engine, max_queue=2)


def test_a_request_that_would_miss_its_deadline_is_rejected_unparsed(bundle: Path) -> None:
    """A question that was sent before, word for word, is not: its answer is cached."""
    clock = count(time.monotonic(), 0.1)  # an engine that takes a while for all it does
    engine = Held(bundle)
    engine.gate.set()
    host = ThreadHost(engine, LIMITS, clock=clock.__next__)

    async def scenario(client: httpx.AsyncClient) -> None:
        async def ask(question: str) -> httpx.Response:
            return await client.post("/solve", json={"question": question, "timeout_ms": 50})

        known = {"question": "x = 1"}
        assert (await client.post("/solve", json=known)).status_code == 200
        engine.close_gate()  # an idle engine would admit anything
        running = asyncio.create_task(client.post("/solve", json={"question": "x = 9"}))
        await engine.holds_a_step()
        for question in ("x = 2", "no equation", "x =1"):
            refused = await ask(question)
            assert problem(refused, 429)["detail"] == "the queue is too long for the deadline"
            assert int(refused.headers["retry-after"]) >= 1
        assert (await ask("x = 1")).status_code == 200
        text = (await client.get("/metrics")).text
        assert 'cybersolve_rejected_total{reason="deadline"} 3.0' in text
        assert 'cybersolve_reused_total{how="cached"} 1.0' in text
        engine.gate.set()
        assert (await running).status_code == 200

    serve(bundle, scenario, host=host, cached_answers=9)


def test_a_deadline_that_passes_is_504(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        late = await client.post("/solve", json={"question": "x = 1", "timeout_ms": 5})
        problem(late, 504)
        engine.gate.set()

    serve(bundle, scenario, engine=engine)


def test_a_draining_service_refuses_the_new_and_finishes_the_old(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        questions = [f"x = {n}" for n in range(20)]
        accepted = asyncio.create_task(client.post("/solve/batch", json={"questions": questions}))
        while "in_flight_requests 2.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.001)
        app = client._transport.app  # type: ignore[attr-defined]
        stopping = asyncio.create_task(app.state.runtime.stop())
        await asyncio.sleep(0)
        assert problem(await client.get("/readyz"), 503)["detail"] == "the service is shutting down"
        refused = await client.post("/solve", json={"question": "x = 1"})
        assert problem(refused, 503)["detail"] == "the service is shutting down"
        assert refused.headers["retry-after"] == "1"
        engine.gate.set()
        results = (await accepted).json()["results"]
        assert [result["answer"] for result in results] == [str(n) for n in range(20)]
        await stopping

    # A queue of 4 admits one question of the batch at a time: most of it comes after the signal.
    serve(bundle, scenario, engine=engine, max_queue=4)


def test_a_bug_shows_an_id_and_no_internals(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        app.state.runtime.solver = None
        response = await client.post("/solve", json={"question": "x = 1"})
        body = problem(response, 500)
        assert body["request_id"] == response.headers["x-request-id"]
        assert "NoneType" not in response.text

    serve(bundle, scenario)


def test_readiness_waits_for_the_engine(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert problem(response, 503)["detail"] == "the model is not ready"
        assert response.headers["retry-after"] == "1"
        problem(await client.post("/solve", json={"question": "x = 1"}), 503)

    serve(bundle, scenario, host=Loading(EchoEngine(), LIMITS), warm=False)


def test_a_warm_service_is_ready(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200

    serve(bundle, scenario, engine=EchoEngine())
