"""Plain ASGI middleware for every request. Each module has one concern and knows no route."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.api.keys import ApiKeys
from service.api.middleware.access import RequireKey
from service.api.middleware.admission import RequireAdmission
from service.api.middleware.body import BodyBounds
from service.api.middleware.fast_path import FastPath, FastRoute
from service.api.middleware.faults import UnhandledErrors
from service.api.middleware.head import HeadAsGet
from service.api.middleware.scope import RequestScope
from service.errors import ServiceError
from service.metrics import Metrics
from service.settings import Settings

_REQUEST_HEADERS = ("authorization", "traceparent", "tracestate", "x-api-key", "x-request-id")
_RESPONSE_HEADERS = (
    "retry-after", "www-authenticate", "x-inference-time", "x-queue-time", "x-request-id",
    "x-total-time",
)  # fmt: skip


def install(
    app: FastAPI,
    settings: Settings,
    metrics: Metrics,
    rejection: Callable[[], ServiceError | None],
    direct: Mapping[str, FastRoute],
) -> None:
    """Add all middleware to `app`, innermost first, so a request passes them in reverse order.

    The order ensures that no body is read without a key, that a browser sees why a request was
    rejected, and that every response is labelled, measured and logged. `app` must have all its
    routes. Raises `KeysError`.
    """
    app.add_middleware(FastPath, routes=direct)
    app.add_middleware(HeadAsGet)
    app.add_middleware(UnhandledErrors)
    app.add_middleware(
        BodyBounds, max_bytes=settings.max_body_bytes, timeout_s=settings.receive_timeout_s
    )
    app.add_middleware(RequireAdmission, rejection=rejection)
    if settings.api_keys_file is not None:
        app.add_middleware(RequireKey, keys=ApiKeys(settings.api_keys_file))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )
    app.add_middleware(
        RequestScope,
        metrics=metrics,
        paths=app.openapi()["paths"],
        log_questions=settings.log_questions,
    )
