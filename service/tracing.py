"""Read the W3C trace context of a request, and configure FastAPI's own spans.

Without a span provider (the extra `otel` and OpenTelemetry's standard variables) no spans are made,
and a request belongs to the trace in the client's `traceparent`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import TracerProvider
from starlette.types import Scope

# Every few seconds, and all the same.
PROBES = ("/livez", "/readyz", "/health", "/metrics", "/v2/health/")
_TRACEPARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)


@dataclass(frozen=True)
class TraceContext:
    """The client's trace and span. Ids are lower-case hex, 32 and 16 digits."""

    trace_id: str
    parent_id: str
    sampled: bool


def trace_context(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the context of `traceparent`, or `None` if it is missing, repeated or invalid.

    https://www.w3.org/TR/trace-context-1/#traceparent-header: an invalid header is ignored;
    later versions may append fields.
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
    """Return the trace id of the recorded span, or else of the client's trace: 32 hex digits."""
    span = trace.get_current_span()
    if span.is_recording():
        return f"{span.get_span_context().trace_id:032x}"
    context = trace_context(scope["headers"])
    return context.trace_id if context else None


def telemetry(provider: TracerProvider | None) -> TelemetryConfig:
    """Return FastAPI's telemetry configuration, for `provider` or else from the environment.

    Only requests are traced. `service.metrics` has the metrics, and FastAPI's logs would contain
    the clients' texts.
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
