"""Read the W3C trace context of a request, and configure FastAPI's own spans.

Without a span provider (the extra `otel` and OpenTelemetry's standard variables) no spans are made,
and a request's trace is the one that the caller's `traceparent` names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import TracerProvider
from starlette.types import Scope

PROBES = ("/livez", "/readyz", "/metrics", "/v2/health/")  # every few seconds, and all alike
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


@dataclass(frozen=True)
class TraceContext:
    """The caller's place in its trace. Ids are lower-case hex, 32 and 16 digits."""

    trace_id: str
    parent_id: str
    sampled: bool


def trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """What `traceparent` says, or `None` where there is none, or not one, or it is not valid.

    https://www.w3.org/TR/trace-context-1/#traceparent-header: an invalid one is as none; a version
    from the future may have more behind what this one knows.
    """
    given = [value for name, value in headers if name == b"traceparent"]
    if len(given) != 1 or (match := _TRACEPARENT.fullmatch(given[0])) is None:
        return None
    version, trace, parent = match["version"], match["trace"], match["parent"]
    if version == b"ff" or (version == b"00" and match["more"]):
        return None
    if not trace.strip(b"0") or not parent.strip(b"0"):
        return None
    sampled = bool(int(match["flags"], 16) & 1)
    return TraceContext(trace.decode(), parent.decode(), sampled)


def trace_id(scope: Scope) -> str | None:
    """Of the span that is being recorded, or else of the caller's trace; 32 digits of hex."""
    span = trace.get_current_span()
    if span.is_recording():
        return f"{span.get_span_context().trace_id:032x}"
    context = trace_context(scope["headers"])
    return context.trace_id if context else None


def telemetry(provider: TracerProvider | None) -> TelemetryConfig:
    """What FastAPI is to trace, for `provider` or else for what the environment names.

    Only requests: of metrics there are those of `service.metrics`, and its logs would have what
    callers wrote.
    """
    config: TelemetryConfig = {
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "auto_configure": provider is None,
        "exclude": lambda scope: scope["path"].startswith(PROBES),
    }
    if provider is not None:
        config["tracer_provider"] = provider
    return config
