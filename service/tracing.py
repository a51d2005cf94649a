"""Traces: which one a request belongs to, and OpenTelemetry's spans of what was done for it.

The span of a request is FastAPI's own; those within it are made here. Without a provider of spans,
which the extra `otel` and OpenTelemetry's standard variables bring, there are none, and the trace
is what the caller's `traceparent` says it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from opentelemetry.trace import TracerProvider
from starlette.types import Scope

from service.contracts import Timings

_NAME = "cybersolve"
_NO_SPAN = nullcontext()
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


class Phases:
    """Spans within the request that is being handled; nothing where that has none."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer(_NAME, tracer_provider=provider)

    def span(self, name: str) -> AbstractContextManager[object]:
        """For the time of a `with`."""
        if not trace.get_current_span().is_recording():
            return _NO_SPAN
        return self._tracer.start_as_current_span(name)

    def inferred(self, timings: Timings) -> None:
        """What an engine has just done, from the time that it took. A kept answer took none."""
        if not timings.total_s or not trace.get_current_span().is_recording():
            return
        began_ns = time.time_ns() - _ns(timings.total_s)
        decode_s = timings.inference_s - timings.encode_s
        for name, took_s in (
            ("queue", timings.queue_s),
            ("encode", timings.encode_s),
            ("decode", decode_s),
        ):
            span = self._tracer.start_span(name, start_time=began_ns)
            began_ns += _ns(took_s)
            span.end(began_ns)


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)
