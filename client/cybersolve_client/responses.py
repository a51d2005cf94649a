"""Read HTTP responses as the result of a call or as a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from cybersolve_client.answers import (
    Answer,
    Generation,
    Info,
    Problem,
    read_answer,
    read_generation,
    read_info,
    read_problem,
)
from cybersolve_client.errors import ServerError
from cybersolve_client.steps import Result

REQUEST_ID = "x-request-id"


def answer_of(response: httpx.Response) -> Answer:
    """Return the answer. Raises `ServerError` for any other success, as the functions below."""
    return _read(response, lambda body: read_answer(body, request_id_of(response)))


def outcomes_of(response: httpx.Response, count: int) -> list[Answer | Problem]:
    """Return the `count` results of a batch; each is an answer or a problem."""
    return _results(response, count, lambda body: "verdict" in body, read_answer)


def generations_of(response: httpx.Response, count: int) -> list[Generation | Problem]:
    """Return the `count` results of several texts; each is a generation or a problem."""
    return _results(response, count, lambda body: "text" in body, read_generation)


def generation_of(response: httpx.Response) -> Generation:
    return _read(response, lambda body: read_generation(body, request_id_of(response)))


def info_of(response: httpx.Response) -> Info:
    return _read(response, read_info)


def problem_of(response: httpx.Response) -> Problem:
    """Return the server's problem, or one built from a proxy's response."""
    try:
        return read_problem(response.json(), request_id_of(response))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _said(response, response.text[:200] or response.reason_phrase)


def request_id_of(response: httpx.Response) -> str:
    """Return the server's request id, or the client's if a proxy removed it."""
    given: str = response.headers.get(REQUEST_ID) or response.request.headers[REQUEST_ID]
    return given


def _results(
    response: httpx.Response,
    count: int,
    is_answer: Callable[[Any], bool],
    read_one: Callable[[Any, str], Result],
) -> list[Result | Problem]:
    request_id = request_id_of(response)

    def results(body: Any) -> list[Result | Problem]:
        found = [
            read_one(each, request_id) if is_answer(each) else read_problem(each, request_id)
            for each in body["results"]
        ]
        if len(found) != count:
            raise ValueError(f"{len(found)} results; expected {count}")
        return found

    return _read(response, results)


def _read(response: httpx.Response, reader: Callable[[Any], Result]) -> Result:
    try:
        return reader(response.json())
    except (ValueError, KeyError, TypeError) as error:
        problem = _said(response, "the answer is not one of CyberSolve")
        raise ServerError(problem.detail, problem) from error


def _said(response: httpx.Response, detail: str) -> Problem:
    return Problem(
        response.status_code, response.reason_phrase, detail, request_id=request_id_of(response)
    )
