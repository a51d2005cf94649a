"""The client's requests, and the results that it reads from responses."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx
import pytest

from cybersolve_client import (
    Answer,
    ConnectionRefused,
    CyberSolveError,
    DeadlineExceeded,
    InvalidRequest,
    NotUnderstood,
    Overloaded,
    Problem,
    Retries,
    ServerError,
    TooLongForModel,
    Unauthorized,
    Unavailable,
)
from cybersolve_client.errors import TOO_LONG
from tests.client.script import (
    Face,
    Line,
    Script,
    answer,
    answering,
    failing,
    problem,
    refused,
)

ONCE = Retries(attempts=1)
INFO = {
    "name": "tiny", "version": "1", "solves": True, "precision": "fp32", "provider": "cpu",
    "kernels": "none",
    "parameters": 1, "max_source_tokens": 200, "max_new_tokens": 8, "max_batch_questions": 2,
    "max_body_bytes": 1000, "default_timeout_ms": 30000.0, "provenance": {"seed": 0},
}  # fmt: skip


def info(**limits: int) -> httpx.Response:
    return httpx.Response(200, json={**INFO, **limits})


def batch(request: httpx.Request) -> httpx.Response:
    """Answers each question with itself."""
    results = [answer(answer=question) for question in json.loads(request.content)["questions"]]
    return httpx.Response(200, json={"results": results})


def test_a_question_is_asked_and_its_answer_read(face: Face) -> None:
    script = Script(answering)
    found = face.ask(
        script,
        lambda client: client.solve("3x = 15", fallback="exact", timeout=2, request_id="mine"),
        api_key="cs_secret",
    )
    assert (found.answer, found.verdict, found.correct) == ("5", "correct", True)
    assert found.solution == {"x": "5"}
    assert found.work == ("3*x = 15", "x = 5")
    assert (found.model.name, found.timing_ms["total"]) == ("tiny", 2.5)
    assert found.request_id == "mine"
    (request,) = script.requests
    assert (request.method, request.url.path) == ("POST", "/solve")
    assert request.headers["authorization"] == "Bearer cs_secret"
    assert request.headers["x-request-id"] == "mine"
    assert script.bodies == [{"question": "3x = 15", "fallback": "exact", "timeout_ms": 2000}]


def test_a_system_has_a_value_for_each_variable(face: Face) -> None:
    values = {"x": "7/2", "y": "3/2"}
    said = answer(answer=None, variable=None, solution=values)
    found = face.ask(Script(httpx.Response(200, json=said)), lambda client: client.solve("it"))
    assert (found.answer, found.variable, found.solution) == (None, None, values)


def test_a_service_before_solutions_has_none(face: Face) -> None:
    said = answer()
    del said["solution"]
    found = face.ask(Script(httpx.Response(200, json=said)), lambda client: client.solve("it"))
    assert (found.answer, found.solution) == ("5", None)


def test_without_a_key_or_an_id_there_is_an_id_and_no_key(face: Face) -> None:
    script = Script(answering)
    found = face.ask(script, lambda client: client.solve("3x = 15"))
    assert found.request_id == script.requests[0].headers["x-request-id"]
    assert len(found.request_id) == 32
    assert "authorization" not in script.requests[0].headers


def test_a_question_not_understood_shows_where(face: Face) -> None:
    fault = {"span": [5, 6], "expected": "a number", "detail": "unexpected '='"}
    error = face.fails(
        NotUnderstood,
        Script(failing(422, **fault, headers={"x-request-id": "7"})),
        lambda client: client.solve("3x + = 20"),
    )
    assert (error.span, error.expected, error.request_id) == ((5, 6), "a number", "7")
    assert str(error) == "unexpected '='; expected a number\n  3x + = 20\n       ^"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, InvalidRequest),
        (408, DeadlineExceeded),
        (413, InvalidRequest),
        (422, InvalidRequest),
        (429, Overloaded),
        (500, ServerError),
        (502, ServerError),
        (503, Unavailable),
        (504, DeadlineExceeded),
    ],
)
def test_every_status_is_an_error_that_carries_its_problem(
    face: Face, status: int, kind: type[CyberSolveError]
) -> None:
    script = Script(failing(status, request_id="quote me"))
    error = face.fails(kind, script, lambda client: client.solve("x = 1"), retries=ONCE)
    assert error.problem == Problem(status, "A Title", "so it is", request_id="quote me")
    assert (str(error), error.request_id) == ("so it is", "quote me")


def test_what_the_model_cannot_read_has_an_error_of_its_own(face: Face) -> None:
    line = failing(422, type=TOO_LONG, detail="300 tokens; the model reads at most 200")
    for call in (
        lambda client: client.solve("x = 1"),
        lambda client: client.generate("a long text"),
    ):
        error = face.fails(TooLongForModel, Script(line), call)
        assert str(error) == "300 tokens; the model reads at most 200"
        assert isinstance(error, InvalidRequest)


@pytest.mark.parametrize(
    "lead", ["\N{GRINNING FACE}", "\N{MATHEMATICAL BOLD SMALL X}" * 3, "e\u0301"]
)
def test_a_span_counts_unicode_code_points(face: Face, lead: str) -> None:
    """A character beyond the basic plane counts once, as in Python, and not twice as in UTF-16."""
    question = lead + " ? = 1"
    span = [len(lead) + 1, len(lead) + 2]
    line = failing(422, span=span, expected="a number", detail="unexpected '?'")
    error = face.fails(NotUnderstood, Script(line), lambda client: client.solve(question))
    text, carets = str(error).splitlines()[1:]
    assert text[carets.index("^")] == "?"


def test_a_proxys_page_is_a_problem_too(face: Face) -> None:
    page = httpx.Response(502, text="<html>Bad Gateway</html>")
    error = face.fails(ServerError, Script(page), lambda client: client.solve("x = 1"))
    assert error.problem is not None
    assert (error.problem.status, error.problem.detail) == (502, "<html>Bad Gateway</html>")


@pytest.mark.parametrize("body", ["[]", "{}", "no json", '{"answer": "5"}'])
def test_what_is_no_answer_is_the_servers_error(face: Face, body: str) -> None:
    script = Script(httpx.Response(200, text=body))
    error = face.fails(ServerError, script, lambda client: client.solve("x = 1"))
    assert str(error) == "the answer is not one of CyberSolve"


def test_many_questions_go_in_as_many_requests_as_the_limits_need(face: Face) -> None:
    script = Script(info(), batch, batch, batch)
    found = face.ask(script, lambda client: client.solve_many(["a", "b", "c", "d", "e"]))
    assert [each.answer for each in found] == ["a", "b", "c", "d", "e"]
    assert [body["questions"] for body in script.bodies] == [["a", "b"], ["c", "d"], ["e"]]


def test_no_body_is_larger_than_the_server_takes(face: Face) -> None:
    questions = ["a" * 300, "b" * 300, "\u2212" * 100, "c" * 700, "d" * 2000]
    too_large = failing(413)
    script = Script(info(max_batch_questions=100), batch, batch, batch, too_large)
    found = face.ask(script, lambda client: client.solve_many(questions))
    assert [each.answer for each in found[:4]] == questions[:4]
    assert all(len(request.content) <= 1000 for request in script.requests[1:-1])
    assert found[4].status == 413  # alone: only this one has no answer


def test_the_limits_are_asked_for_once(face: Face) -> None:
    script = Script(info(), batch, batch)

    def twice(client: Any) -> Any:
        first = client.solve_many(["a"])
        if not hasattr(first, "__await__"):
            return client.solve_many(["b"])

        async def awaited() -> Any:
            await first
            return await client.solve_many(["b"])

        return awaited()

    face.ask(script, twice)
    assert [request.url.path for request in script.requests].count("/info") == 1


def test_nothing_asked_is_nothing_answered(face: Face) -> None:
    assert face.ask(Script(info()), lambda client: client.solve_many([])) == []


def test_those_that_the_server_was_too_busy_for_are_asked_again(face: Face) -> None:
    busy = {"results": [answer(answer="a"), problem(429)]}
    script = Script(info(), httpx.Response(200, json=busy), batch)
    found = face.ask(script, lambda client: client.solve_many(["a", "b"]))
    assert [each.answer for each in found] == ["a", "b"]
    assert [body["questions"] for body in script.bodies] == [["a", "b"], ["b"]]
    assert script.clock.sleeps_s == [0.05]


def test_those_that_stay_busy_are_problems_in_their_place(face: Face) -> None:
    busy = {"results": [problem(503), problem(422, span=[0, 1], expected="a number")]}
    script = Script(
        info(),
        httpx.Response(200, json=busy),
        httpx.Response(200, json={"results": [problem(429)]}),
    )
    retries = Retries(attempts=2, random=lambda: 0.0)
    found = face.ask(script, lambda client: client.solve_many(["a", "b"]), retries=retries)
    assert [each.status for each in found] == [429, 422]
    assert found[1].drawing("=1") == "  =1\n  ^"


@pytest.mark.parametrize("line", [failing(500), httpx.ReadError("broken"), failing(401)])
def test_finished_batches_are_kept_when_a_later_one_fails(face: Face, line: Line) -> None:
    script = Script(info(), batch, batch, line)
    error = face.fails(
        CyberSolveError, script, lambda client: client.solve_many(["a", "b", "c", "d", "e"]),
        exactly=False,
    )  # fmt: skip
    assert [cast("Answer", each).answer for each in error.outcomes] == ["a", "b", "c", "d"]


def test_a_failing_further_request_leaves_the_answers_of_its_batch(face: Face) -> None:
    busy = {"results": [answer(answer="a"), problem(429)]}
    for line in (httpx.ReadError("broken"), failing(500), httpx.Response(200, text="[]")):
        script = Script(info(), httpx.Response(200, json=busy), line)
        first, second = face.ask(script, lambda client: client.solve_many(["a", "b"]))
        assert (first.answer, second.status) == ("a", 429)


def test_a_batch_with_too_few_results_is_the_servers_error(face: Face) -> None:
    script = Script(info(), httpx.Response(200, json={"results": [answer()]}))
    error = face.fails(ServerError, script, lambda client: client.solve_many(["a", "b"]))
    assert error.outcomes == ()


def test_info_is_read(face: Face) -> None:
    found = face.ask(Script(info()), lambda client: client.info())
    assert (found.name, found.max_batch_questions) == ("tiny", 2)
    assert found.provenance == {"seed": 0}


def test_readiness_is_what_readyz_says(face: Face) -> None:
    for line, ready in (
        (httpx.Response(200, json={"status": "ready"}), True),
        (failing(503), False),
        (refused(), False),
    ):
        assert face.ask(Script(line), lambda client: client.ready()) is ready


def test_waiting_ends_when_the_server_is_ready(face: Face) -> None:
    ready = httpx.Response(200, json={"status": "ready"})
    script = Script(refused(), failing(503), failing(503), ready)
    face.ask(script, lambda client: client.wait_until_ready(timeout=5))
    assert len(script.requests) == 4
    assert script.clock.sleeps_s == [0.1, 0.1, 0.1]


def test_waiting_in_vain_says_why(face: Face) -> None:
    script = Script(*[refused()] * 100)
    wait = lambda client: client.wait_until_ready(timeout=1)  # noqa: E731
    assert str(face.fails(ConnectionRefused, script, wait)) == "refused (test)"
    assert sum(script.clock.sleeps_s) <= 1.0
    script = Script(*[failing(503)] * 100)
    assert str(face.fails(Unavailable, script, wait)) == "so it is"
