"""What happens around every request, as plain ASGI: each module one concern, none knows a route."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.api.keys import ApiKeys
from service.api.middleware.access import RequireKey
from service.api.middleware.admission import RequireAdmission
from service.api.middleware.body import BodyBounds
from service.api.middleware.fast_path import FastPath, FastRoute
from service.api.middleware.faults import BugsAnswered
from service.api.middleware.head import HeadAsGet
from service.api.middleware.scope import RequestScope
from service.errors import ServiceError
from service.metrics import Metrics
from service.settings import Settings

_ASKED_HEADERS = ("authorization", "traceparent", "tracestate", "x-api-key", "x-request-id")
_TOLD_HEADERS = (
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
    """From the router outwards; a request passes them in the opposite order.

    So a stranger's body is not read, a browser learns why it was refused, and whatever comes of a
    request is labelled, measured and logged. To be called when `app` has all its routes. Raises
    `KeysError`.
    """
    app.add_middleware(FastPath, routes=direct)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BugsAnswered)
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
            allow_headers=_ASKED_HEADERS,
            expose_headers=_TOLD_HEADERS,
        )
    app.add_middleware(
        RequestScope,
        metrics=metrics,
        paths=app.openapi()["paths"],
        log_questions=settings.log_questions,
    )
