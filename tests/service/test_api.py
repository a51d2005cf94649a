"""The HTTP contract: questions, answers and what is served."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from tests.service.app import serve


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
            "solution": {"c": "-6"},
            "variable": "c",
            "verdict": "correct",
            "reason": None,
            "source": "model",
            "equation": "24 = 1601*c - 1605*c",
            "work": ["4*c = -24", "c = -6"],
            "confidence": None,
            "tries": 1,
            "model": {"name": "tiny", "version": "0.0.1"},
        }
        assert 0 <= timing["queue"] <= timing["total"]
        assert 0 < timing["inference"] <= timing["total"]
        assert len(response.headers["x-request-id"]) == 32
        for part, value_ms in timing.items():  # for proxies and load tests, which read no bodies
            assert float(response.headers[f"x-{part}-time"]) == value_ms

    serve(bundle, scenario)


@pytest.mark.parametrize(
    ("question", "answer", "solution", "variable"),
    [
        ("Suppose 3*b - 5 = 10. Solve b*x = 15 for x.", "3", {"x": "3"}, "x"),
        ("x + y = 5; x - y = 2", None, {"x": "7/2", "y": "3/2"}, None),
        ("x + y = 1, x + y = 2", None, None, None),
    ],
)
def test_a_system_has_a_value_for_each_variable_asked_for(
    bundle: Path,
    question: str,
    answer: str | None,
    solution: dict[str, str] | None,
    variable: str | None,
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        body = (await client.post("/solve", json={"question": question})).json()
        assert (body["answer"], body["variable"]) == (answer, variable)
        assert body["solution"] == solution
        assert body["verdict"] == ("correct" if solution else "unverifiable")
        assert body["reason"] == (None if solution else "no solution")

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
        assert fifth["type"] == "urn:problem-type:cybersolve:too-long-for-model"
        kinds = [each["kind"] for each in (first, second, third, fourth, fifth)]
        assert kinds == ["answer", "problem", "answer", "answer", "problem"]
        assert second.keys() == {"type", "title", "status", "detail", "span", "expected", "kind"}

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
            "cybersolve_engines 1.0",
            "cybersolve_queue_depth 0.0",
            "cybersolve_queue_limit 1024.0",
            "cybersolve_engine_up 1.0",
            'cybersolve_model_info{name="tiny",precision="fp32",provider="fake",'
            'version="0.0.1"} 1.0',
        ):
            assert line in text.splitlines()
        (busy_s,) = re.findall(r"^cybersolve_busy_seconds_total (\S+)$", text, re.MULTILINE)
        assert 0 < float(busy_s) < 60

    serve(bundle, scenario)


def test_info_says_what_is_served(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        info = (await client.get("/info")).json()
        assert (info["name"], info["provider"], info["max_new_tokens"]) == ("tiny", "fake", 8)
        assert info["provenance"]["seed"] == 0

    serve(bundle, scenario)


def test_the_docs_are_there(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get("/docs")).status_code == 200

    serve(bundle, scenario)
