"""The HTTP contract: what is wrong with a request, said so that it can be mended."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.api.problems import STATUS
from service.errors import ClientDisconnected, ServiceError
from tests.service.app import problem, serve


@pytest.mark.parametrize(
    ("question", "span", "expected"),
    [
        ("3x + = 20", [5, 6], "a number, the variable or '('"),
        ("9**9**9", [4, 6], "brackets around the inner power"),
        ("1" * 100_000, [2000, 100_000], "at most 2000"),
        ("(" * 10_000, [2000, 10_000], "at most 2000"),
        ("x < 1", [2, 3], "an equation, with '='"),
        ("2\U0001d465 + \U0001d466 = 1", [5, 6], None),
        ("x + y = 5", [4, 5], "the same variable, 'x', or as many equations as variables"),
        ("x = 1\0", [5, 6], "digits, a variable, + - * / ( ) or ="),
    ],
)
def test_what_is_not_understood_says_where(
    bundle: Path, question: str, span: list[int], expected: str | None
) -> None:
    """Positions count code points, also where a character takes two UTF-16 units."""

    async def scenario(client: httpx.AsyncClient) -> None:
        body = problem(await client.post("/solve", json={"question": question}), 422)
        assert body["span"] == span
        assert expected in (None, body["expected"])

    serve(bundle, scenario)


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, ["body", "question"]),
        ({"question": 3}, ["body", "question"]),
        ({"question": "x = 1", "fallback": "guess"}, ["body", "fallback"]),
        ({"question": "x = 1", "timeout_ms": 0}, ["body", "timeout_ms"]),
        ({"question": "x = 1", "timeout_ms": True}, ["body", "timeout_ms"]),
        ({"question": "x = 1", "timeout_ms": "5"}, ["body", "timeout_ms"]),
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


@pytest.mark.parametrize(
    ("given", "kept"),
    [("550e8400-e29b-41d4-a716-446655440000", True), ("a b", False), ("x" * 65, False)],
)
def test_a_callers_request_id_is_kept_if_it_fits(bundle: Path, given: str, kept: bool) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.get("/livez", headers={"x-request-id": given})
        assert (response.headers["x-request-id"] == given) is kept

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
        assert (error in STATUS) is (error is not ClientDisconnected)
