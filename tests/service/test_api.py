"""The HTTP contract, around a fake engine that is always right."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.api.problems import STATUS
from service.app import create_app
from service.contracts import Engine, Generation, Tokens
from service.engine.bundle import TOKENIZER, load_manifest
from service.engine.fake import EchoEngine
from service.engine.tokens import TextCodec
from service.errors import CallerGone, ServiceError
from service.runtime import Model
from service.settings import Settings
from tests.fakes import RightEngine

Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


class Broken:
    def generate(self, sources: Sequence[Tokens]) -> Generation:
        raise RuntimeError("secret internals")


def serve(
    bundle: Path,
    scenario: Scenario,
    *,
    engine: Engine | None = None,
    warm: bool = True,
    **knobs: Any,
) -> None:
    """Run `scenario` against the application, in this process and without a socket."""
    codec = TextCodec(bundle / TOKENIZER)
    model = Model(load_manifest(bundle), codec, engine or RightEngine(codec), "fake")
    app = create_app(replace(Settings(), **knobs), model)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            if warm:
                await becomes_ready(app)
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                await scenario(client)

    asyncio.run(main())


async def becomes_ready(app: FastAPI) -> None:
    async with asyncio.timeout(30):
        while not app.state.runtime.ready:
            await asyncio.sleep(0.001)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def test_a_question_is_answered_and_verified(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post(
            "/solve", json={"question": "Solve 24 = 1601*c - 1605*c for c."}
        )
        assert response.status_code == 200
        body = response.json()
        timing = body.pop("timing_ms")
        assert body == {
            "answer": "-6",
            "variable": "c",
            "verdict": "correct",
            "reason": None,
            "source": "model",
            "equation": "24 = 1601*c - 1605*c",
            "work": ["4*c = -24", "c = -6"],
            "model": {"name": "tiny", "version": "0.0.1"},
        }
        assert 0 <= timing["queue"] <= timing["total"]
        assert 0 < timing["inference"] <= timing["total"]
        assert len(response.headers["x-request-id"]) == 32

    serve(bundle, scenario)


def test_a_batch_is_answered_in_order_with_problems_in_place(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        questions = ["3x + 5 = 20", "3x + = 2", "2(y-1) = 4", "z = z", "x = 1234567890123"]
        response = await client.post("/solve/batch", json={"questions": questions})
        assert response.status_code == 200
        first, second, third, fourth, fifth = response.json()["results"]
        assert (first["answer"], first["verdict"]) == ("5", "correct")
        assert (second["status"], second["span"]) == (422, [5, 6])
        assert (third["answer"], third["variable"]) == ("3", "y")
        assert (fourth["verdict"], fourth["reason"]) == (
            "unverifiable",
            "infinitely many solutions",
        )
        assert fifth["detail"] == "the model does not read a number of 13 digits, over 12"

    serve(bundle, scenario)


def test_a_wrong_answer_is_said_to_be_wrong(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = (await client.post("/solve", json={"question": "2x = 1"})).json()
        assert (body["answer"], body["verdict"]) == (None, "wrong")
        assert body["reason"] == "the model gave no answer"

    serve(bundle, scenario)


@pytest.mark.parametrize(
    ("question", "answer", "source"),
    [
        ("2x = 4", "2", "model"),
        ("2x = 1", "1/2", "exact"),
        ("x = 1234567890123", "1234567890123", "exact"),  # too long for the model
    ],
)
def test_the_exact_fallback_replaces_only_what_is_wrong(
    bundle: Path, question: str, answer: str, source: str
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/solve", json={"question": question, "fallback": "exact"})
        body = response.json()
        assert body["verdict"] == "correct"
        assert (body["answer"], body["source"]) == (answer, source)

    serve(bundle, scenario)


def test_no_fallback_invents_a_solution(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = (
            await client.post("/solve", json={"question": "x = x + 1", "fallback": "exact"})
        ).json()
        assert (body["verdict"], body["reason"]) == ("unverifiable", "no solution")
        assert body["source"] == "model"

    serve(bundle, scenario)


@pytest.mark.parametrize(
    ("question", "span", "expected"),
    [
        ("3x + = 20", [5, 6], "a number, the variable or '('"),
        ("9**9**9", [1, 3], "a linear equation"),
        ("1" * 100_000, [500, 100_000], "at most 500"),
        ("(" * 10_000, [500, 10_000], "at most 500"),
        ("x = 1\0", [5, 6], "digits, a variable, + - * / ( ) or ="),
    ],
)
def test_what_is_not_understood_says_where(
    bundle: Path, question: str, span: list[int], expected: str
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = problem(await client.post("/solve", json={"question": question}), 422)
        assert (body["span"], body["expected"]) == (span, expected)

    serve(bundle, scenario)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, ["body", "question"]),
        ({"question": 3}, ["body", "question"]),
        ({"question": "x = 1", "fallback": "guess"}, ["body", "fallback"]),
        ({"question": "x = 1", "timeout_ms": 0}, ["body", "timeout_ms"]),
        ({"question": "x = 1", "colour": "red"}, ["body", "colour"]),
    ],
)
def test_a_body_of_another_shape_says_where(
    bundle: Path, body: dict[str, object], at: list[str]
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        errors = problem(await client.post("/solve", json=body), 422)["errors"]
        assert [error["at"] for error in errors] == [at]

    serve(bundle, scenario)


def test_unknown_paths_and_methods_are_problems(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        problem(await client.get("/nowhere"), 404)
        problem(await client.get("/solve"), 405)

    serve(bundle, scenario)


def test_a_body_over_the_limit_is_refused_unparsed(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = problem(await client.post("/solve", json={"question": "x" * 100}), 413)
        assert body["detail"] == "the body is over 50 bytes"
        assert (await client.post("/solve", json={"question": "x = 1"})).status_code == 200

    serve(bundle, scenario, max_body_bytes=50)


def test_too_many_questions_are_refused(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/solve/batch", json={"questions": ["x = 1"] * 4})
        assert problem(response, 422)["detail"] == "4 questions; a batch takes at most 3"

    serve(bundle, scenario, max_batch_questions=3)


def test_an_engine_failure_shows_an_id_and_no_internals(bundle: Path) -> None:
    class BreaksLater(RightEngine):
        broken = False

        def generate(self, sources: Sequence[Tokens]) -> Generation:
            return Broken().generate(sources) if self.broken else super().generate(sources)

    engine = BreaksLater(TextCodec(bundle / TOKENIZER))

    async def scenario(client: httpx.AsyncClient) -> None:
        engine.broken = True
        response = await client.post("/solve", json={"question": "x = 1"})
        body = problem(response, 500)
        assert body["request_id"] == response.headers["x-request-id"]
        assert "secret" not in response.text
        engine.broken = False
        assert (await client.post("/solve", json={"question": "x = 1"})).status_code == 200

    serve(bundle, scenario, engine=engine)


class Held(RightEngine):
    """Right, but after the warm-up only once a test opens the gate."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(TextCodec(bundle / TOKENIZER))
        self.gate = threading.Event()
        self.gate.set()

    def generate(self, sources: Sequence[Tokens]) -> Generation:
        assert self.gate.wait(30), "nobody opened the gate"
        return super().generate(sources)


def test_a_full_queue_is_429_and_says_when_to_come_back(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        engine.gate.clear()
        ask = functools.partial(client.post, "/solve", json={"question": "x = 1"})
        running = asyncio.create_task(ask())
        while "batch_size_count 4.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(ask()) for _ in range(2)]
        while "queue_depth 2.0" not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.001)
        refused = await ask()
        problem(refused, 429)
        assert int(refused.headers["retry-after"]) >= 1
        engine.gate.set()
        answers = await asyncio.gather(running, *waiting)
        assert [answer.status_code for answer in answers] == [200] * 3
        text = (await client.get("/metrics")).text
        assert 'cybersolve_rejected_total{reason="queue_full"} 1.0' in text

    serve(bundle, scenario, engine=engine, max_queue=2)


def test_a_deadline_that_passes_is_504(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        engine.gate.clear()
        late = await client.post("/solve", json={"question": "x = 1", "timeout_ms": 5})
        problem(late, 504)
        engine.gate.set()

    serve(bundle, scenario, engine=engine)


def test_a_draining_service_refuses_the_new_and_finishes_the_old(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        engine.gate.clear()
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


@pytest.mark.parametrize(
    ("given", "kept"),
    [("550e8400-e29b-41d4-a716-446655440000", True), ("a b", False), ("x" * 65, False)],
)
def test_a_callers_request_id_is_kept_if_it_fits(bundle: Path, given: str, kept: bool) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.get("/livez", headers={"x-request-id": given})
        assert (response.headers["x-request-id"] == given) is kept

    serve(bundle, scenario)


def test_a_bug_shows_an_id_and_no_internals(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        app.state.runtime.solver = None
        response = await client.post("/solve", json={"question": "x = 1"})
        body = problem(response, 500)
        assert body["request_id"] == response.headers["x-request-id"]
        assert "NoneType" not in response.text

    serve(bundle, scenario)


@pytest.mark.parametrize(
    "body",
    [
        {"questions": [1] * 100_000},
        {f"key{n}": 1 for n in range(50_000)},
        {"questions": ["x = 1"], "a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7},
    ],
)
def test_many_faults_make_a_short_answer(bundle: Path, body: dict[str, object]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/solve/batch", json=body)
        problem(response, 422)
        assert len(response.content) < 2_000

    serve(bundle, scenario)


def test_what_is_no_json_is_422(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for content in (b'{"question": "\xff"}', b"[" * 10_000, b"{", b""):
            headers = {"content-type": "application/json"}
            problem(await client.post("/solve", content=content, headers=headers), 422)

    serve(bundle, scenario)


def test_every_service_error_has_a_status() -> None:
    for error in ServiceError.__subclasses__():
        assert (error in STATUS) is (error is not CallerGone)


def test_readiness_waits_for_the_warm_up(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/livez")).status_code == 200
        response = await client.get("/readyz")
        assert problem(response, 503)["detail"] == "the model is not ready"
        assert response.headers["retry-after"] == "1"
        problem(await client.post("/solve", json={"question": "x = 1"}), 503)

    serve(bundle, scenario, engine=Broken(), warm=False)


def test_a_warm_service_is_ready(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/readyz")).status_code == 200

    serve(bundle, scenario, engine=EchoEngine())


def test_the_metrics_count(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for question in ("x = 1", "2x = 1", "3x + = 2"):
            await client.post("/solve", json={"question": question})
        await client.get("/nowhere/../else")
        text = (await client.get("/metrics")).text
        for line in (
            'cybersolve_requests_total{route="/solve",status="200"} 2.0',
            'cybersolve_requests_total{route="/solve",status="422"} 1.0',
            'cybersolve_requests_total{route="unmatched",status="404"} 1.0',
            'cybersolve_verdicts_total{source="model",verdict="correct"} 1.0',
            'cybersolve_verdicts_total{source="model",verdict="wrong"} 1.0',
            "cybersolve_in_flight_requests 1.0",
            "cybersolve_queue_depth 0.0",
            "cybersolve_engine_up 1.0",
            'cybersolve_model_info{name="tiny",precision="fp32",provider="fake",'
            'version="0.0.1"} 1.0',
        ):
            assert line in text.splitlines()

    serve(bundle, scenario)


def test_info_says_what_is_served(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        info = (await client.get("/info")).json()
        assert (info["name"], info["provider"], info["max_new_tokens"]) == ("tiny", "fake", 8)
        assert info["provenance"] == {"seed": 0}

    serve(bundle, scenario)


def test_the_openapi_document_and_docs_are_there(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert {"/solve", "/solve/batch", "/livez", "/readyz", "/info", "/metrics"} == set(paths)
        assert set(paths["/solve"]["post"]["responses"]) == {
            "200", "413", "422", "429", "500", "503", "504",
        }  # fmt: skip
        assert (await client.get("/docs")).status_code == 200

    serve(bundle, scenario)
