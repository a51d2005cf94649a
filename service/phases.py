"""OpenTelemetry spans of the phases of a request: queue, encode, decode, verify. No HTTP here."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

from opentelemetry import trace
from opentelemetry.trace import TracerProvider

from service.contracts import Timings

_NAME = "cybersolve"
_NO_SPAN = nullcontext()


class Phases:
    """Make spans inside the span of the current request; do nothing if it has none."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer(_NAME, tracer_provider=provider)

    def span(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that records a span."""
        if not trace.get_current_span().is_recording():
            return _NO_SPAN
        return self._tracer.start_as_current_span(name)

    def inferred(self, timings: Timings) -> None:
        """Record the phases of an answer that an engine has just finished, from its timings."""
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
