"""Complete the OpenAPI document that FastAPI derives from the routes, and add examples.

FastAPI gives every response the media type of the route's answers, but problems have their own. It
does not know the bodies that routes read themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from service.api.example import Example
from service.api.examples import EXAMPLES
from service.api.middleware.access import is_open
from service.api.open_inference.frame import BINARY, BINARY_SCHEMA, HEADER, HEADER_SCHEMA
from service.api.open_inference.schemas import InferRequest
from service.api.problems import MEDIA_TYPE, problem_of, too_large, too_slow, unauthorized
from service.api.schemas import Problem
from service.errors import (
    DeadlineExceeded,
    EngineFailed,
    EngineFull,
    NotReady,
    Overloaded,
    ServiceError,
    ShuttingDown,
)
from service.settings import Settings

TAGS = [
    {"name": "solve", "description": "Questions to verified answers."},
    {"name": "generate", "description": "Text to text, with any T5."},
    {"name": "openai", "description": "The same for OpenAI's clients, and KServe's."},
    {"name": "hub", "description": "The same for clients of the hub's inference endpoints."},
    {"name": "operate", "description": "Life, readiness, metrics, and what is served."},
    {
        "name": "open inference protocol",
        "description": "The same for KServe, Triton's clients and gateways that know it.",
    },
]
_COMPONENT = "#/components/schemas/"
_REQUEST_ID = "0123456789abcdef0123456789abcdef"
_ERRORS: tuple[ServiceError, ...] = (
    Overloaded(retry_after_s=1.0), EngineFailed(), EngineFull(), NotReady(), ShuttingDown(),
    DeadlineExceeded(),
)  # fmt: skip
_RETRY_AFTER = {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}


def install(app: FastAPI, settings: Settings) -> None:
    """Replace the document of `app`, which must have all its routes."""
    document = app.openapi()  # `app` caches it
    document["components"]["schemas"].update(_infer_schemas())
    if settings.api_keys_file is not None:
        _want_keys(document)
    problems = _problems(settings)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                _say_problems(response, problems.get(status, []))
            if path.endswith("/infer"):
                _read_by_the_route(operation)
            for example in EXAMPLES.get(path, ()):
                _add(operation, example)


def _want_keys(document: dict[str, Any]) -> None:
    """Require a bearer key for every route but the open ones."""
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation["security"] = [] if is_open(method.upper(), path) else [{"key": []}]


def _problems(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Return, by status, problems that no example can provoke, made by the service's own code."""
    problems = [problem_of(error, _REQUEST_ID).model_dump() for error in _ERRORS]
    by_status: dict[str, list[dict[str, Any]]] = {}
    responses = (
        too_large(settings.max_body_bytes),
        too_slow(settings.receive_timeout_s),
        unauthorized(wrong=False),
    )
    for problem in (*problems, *(json.loads(bytes(response.body)) for response in responses)):
        by_status.setdefault(str(problem["status"]), []).append(problem)
    return by_status


def _say_problems(response: dict[str, Any], problems: Sequence[dict[str, Any]]) -> None:
    """Set the media type of problems and add examples of them."""
    content = response.get("content", {})
    declared = content.get("application/json", {})
    if declared.get("schema") != {"$ref": _COMPONENT + Problem.__name__}:
        return
    content[MEDIA_TYPE] = content.pop("application/json")
    for problem in problems:
        examples = declared.setdefault("examples", {})
        examples[problem["detail"].replace(" ", "_")] = {"value": problem}
        if problem["status"] in (429, 503):
            response["headers"] = {"Retry-After": _RETRY_AFTER}


def _add(operation: dict[str, Any], example: Example) -> None:
    """Add an example of a request, and its response under the same name."""
    if example.request is not None:
        taken = operation["requestBody"]["content"]["application/json"]
        shown = {"summary": example.summary, "value": example.request}
        taken.setdefault("examples", {})[example.name] = shown
    responses = operation["responses"]
    response = responses.get(str(example.status)) or responses["default"]
    content = response["content"].get(MEDIA_TYPE) or response["content"][example.media_type]
    shown = {"summary": example.summary, "value": example.response}
    content.setdefault("examples", {})[example.name] = shown


def _infer_schemas() -> dict[str, Any]:
    schema = InferRequest.model_json_schema(ref_template=_COMPONENT + "{model}")
    return {**schema.pop("$defs"), InferRequest.__name__: schema}


def _read_by_the_route(operation: dict[str, Any]) -> None:
    """Describe a body of JSON, or of JSON and the binary data of its tensors."""
    schema = {"$ref": _COMPONENT + InferRequest.__name__}
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": schema}, BINARY: BINARY_SCHEMA},
    }
    operation["parameters"].append({"name": HEADER, "in": "header", **HEADER_SCHEMA})
