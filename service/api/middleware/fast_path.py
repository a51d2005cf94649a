"""A fast path: call frequent routes without the framework for plain requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from fastapi import Request, Response
from opentelemetry import trace
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from equations.errors import EquationError
from service.api import problems
from service.api.middleware.body import replayed
from service.errors import ServiceError


class FastRoute(NamedTuple):
    """The type of a route's body and the function that answers it, both as in FastAPI."""

    body: type[BaseModel]
    answer: Callable[[Any, Request], Awaitable[Response]]


class FastPath:
    """Answer a `POST` with a valid JSON body to one of `routes`, as FastAPI would.

    FastAPI tries one path expression after another, opens exit stacks, and resolves dependencies
    even for routes without any. This is a third of the cost of a question without inference. Other
    requests take the normal path: invalid bodies, which FastAPI explains, and traced requests,
    whose spans it names. `receive` must give the whole body at once.
    """

    def __init__(self, app: ASGIApp, routes: Mapping[str, FastRoute]) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route(scope)
        if route is None:
            await self._app(scope, receive, send)
            return
        read = (await receive())["body"]
        try:
            body = route.body.model_validate_json(read)
        except ValidationError:
            await self._app(scope, replayed(read, receive), send)
            return
        try:
            response = await route.answer(body, Request(scope, receive))
        except (EquationError, ServiceError) as error:
            response = problems.answer_to(error, scope["state"]["request_id"])
        await response(scope, receive, send)

    def _route(self, scope: Scope) -> FastRoute | None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return None
        route = self._routes.get(scope["path"])
        if route is None or trace.get_current_span().is_recording():
            return None
        kinds = (value for name, value in scope["headers"] if name == b"content-type")
        return route if next(kinds, b"") == b"application/json" else None
