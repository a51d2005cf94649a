"""The table from error to HTTP status, and problems (RFC 9457) made from errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from itertools import islice
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from equations.errors import EquationError
from service.api.error_forms import NO_MODEL, TOO_LONG, form_of, in_open_inference
from service.api.open_inference.errors import InvalidInference, NoSuchModel
from service.api.schemas import BodyFault, Problem
from service.errors import (
    ClientDisconnected,
    DeadlineExceeded,
    EngineFailed,
    EngineFull,
    InvalidSetting,
    LimitExceeded,
    NotReady,
    Overloaded,
    QuestionTooLong,
    ServiceError,
    ShuttingDown,
)

MEDIA_TYPE = "application/problem+json"
STATUS: Mapping[type[Exception], HTTPStatus] = {
    EquationError: HTTPStatus.UNPROCESSABLE_ENTITY,
    LimitExceeded: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidSetting: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidInference: HTTPStatus.BAD_REQUEST,
    NoSuchModel: HTTPStatus.NOT_FOUND,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    EngineFull: HTTPStatus.SERVICE_UNAVAILABLE,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    ShuttingDown: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
    EngineFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
}
_TYPES: Mapping[type[Exception], str] = {QuestionTooLong: TOO_LONG, NoSuchModel: NO_MODEL}
_MOST_FAULTS = 10  # faults of a body in one problem
_MOST_CHARACTERS = 64  # characters of a key at fault
_NO_OBJECT = "expected a JSON object, and content-type: application/json"
_PLAIN = {  # by pydantic's names
    "model_attributes_type": _NO_OBJECT,
    "model_type": _NO_OBJECT,
    "none_required": "not supported; expected null",
}
_CLIENT_DISCONNECTED = 499  # for the metrics alone, as in nginx
_RETRY_AFTER_S = 1.0  # of a 503: by then the warm-up is over, or another replica has the address


class ProblemResponse(JSONResponse):
    """A problem, or the same in the form of the API that was called: see `error_forms`."""

    def __init__(self, problem: Problem, headers: Mapping[str, str]) -> None:
        super().__init__(problem.model_dump(), problem.status, headers, media_type=MEDIA_TYPE)
        self._problem = problem
        self._given = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form = form_of(scope["method"], scope["path"])
        if form is None:
            await super().__call__(scope, receive, send)
            return
        # The Open Inference Protocol has no 422.
        status = self._problem.status
        if form is in_open_inference and status == HTTPStatus.UNPROCESSABLE_ENTITY:
            status = HTTPStatus.BAD_REQUEST
        body = form(self._problem).model_dump()
        await JSONResponse(body, status, self._given)(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every expected error of `app` with a problem; `middleware.faults` does the others."""
    app.add_exception_handler(EquationError, _expected)
    app.add_exception_handler(ServiceError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def problem_of(error: EquationError | ServiceError, request_id: str) -> Problem:
    """Return the problem for the error of a question in a batch, or of a whole request."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    problem = _problem(status, str(error))
    problem.type = next((_TYPES[kind] for kind in _TYPES if isinstance(error, kind)), problem.type)
    if isinstance(error, EquationError):
        problem.detail = error.message
        problem.span = (error.span.start, error.span.end)
        problem.expected = error.expected
    if isinstance(error, EngineFailed):
        problem.request_id = request_id
    return problem


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    return ProblemResponse(problem, dict(headers or {}))


def too_large(most: int) -> JSONResponse:
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return respond(_problem(status, f"the body is over {most} bytes"))


def shutting_down() -> JSONResponse:
    return refused(ShuttingDown(), "")


def too_slow(most_s: float) -> JSONResponse:
    """Return a 408, which closes the connection (RFC 9110, 15.5.9): nothing reads the rest."""
    problem = _problem(HTTPStatus.REQUEST_TIMEOUT, f"the body took over {most_s:g} s to arrive")
    return respond(problem, {"connection": "close"})


def unauthorized(*, wrong: bool) -> JSONResponse:
    """Return a 401 with a challenge (RFC 6750) that tells a wrong key from a missing one."""
    detail = "no such API key" if wrong else "an API key is needed"
    challenge = 'Bearer realm="cybersolve"' + (', error="invalid_token"' if wrong else "")
    problem = _problem(HTTPStatus.UNAUTHORIZED, f"{detail}; expected Authorization: Bearer KEY")
    return respond(problem, {"www-authenticate": challenge})


def unexpected(request_id: str) -> JSONResponse:
    problem = _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected error")
    problem.request_id = request_id
    return respond(problem)


def disconnected() -> Response:
    """Return the answer to a client that disconnected: not read, only counted in the metrics."""
    return Response(status_code=_CLIENT_DISCONNECTED)


def _problem(status: HTTPStatus, detail: str) -> Problem:
    kind = "about:blank"  # RFC 9457: the status says it all
    return Problem(type=kind, title=status.phrase, status=status.value, detail=detail)


async def _expected(request: Request, error: Exception) -> Response:
    known = cast("EquationError | ServiceError", error)
    return answer_to(known, request.state.request_id)


def answer_to(error: EquationError | ServiceError, request_id: str) -> Response:
    """Return the answer to a request that ends in `error`."""
    return disconnected() if isinstance(error, ClientDisconnected) else refused(error, request_id)


def refused(error: EquationError | ServiceError, request_id: str) -> JSONResponse:
    if isinstance(error, Overloaded):
        return _overloaded(str(error), math.ceil(error.retry_after_s))
    problem = problem_of(error, request_id)
    headers = {}
    if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = str(math.ceil(_RETRY_AFTER_S))
    return respond(problem, headers)


@lru_cache(maxsize=256)
def _overloaded(detail: str, retry_after_s: int) -> JSONResponse:
    """Return a 429. It is cached: there may be thousands, and each takes time from answers."""
    problem = _problem(HTTPStatus.TOO_MANY_REQUESTS, detail)
    return respond(problem, {"retry-after": str(retry_after_s)})


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    errors = [
        BodyFault(
            at=[_shown(place) for place in fault["loc"]],
            message=_message(fault),
        )
        for fault in islice(cast("RequestValidationError", error).errors(), _MOST_FAULTS)
    ]
    problem = _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not what the route takes")
    problem.errors = errors
    return respond(problem)


def _message(fault: Mapping[str, Any]) -> str:
    if fault["type"] == "json_invalid":
        return f"not JSON at character {fault['loc'][-1]}: {fault['ctx']['error']}"
    return _PLAIN.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")


def _shown(key: str | int) -> str | int:
    """Return `key` fit to print: a client's key may be long, or half of a surrogate pair."""
    if isinstance(key, int):
        return key
    return key[:_MOST_CHARACTERS].encode("utf-8", "replace").decode()


async def _http(request: Request, error: Exception) -> JSONResponse:
    known = cast("HTTPException", error)
    if known.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's error for undecodable JSON
        return respond(_problem(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is not JSON"))
    headers = dict(known.headers or {})
    if headers.get("Allow") == "GET":
        headers["Allow"] = "GET, HEAD"  # by `middleware.head`
    status, detail = HTTPStatus(known.status_code), str(known.detail)
    if detail == status.phrase == HTTPStatus.NOT_FOUND.phrase:  # of the router
        path = _shown(request.url.path)
        detail = f"{detail}: there is no {request.method} {path}; /docs lists the routes"
    return respond(_problem(status, detail), headers)
