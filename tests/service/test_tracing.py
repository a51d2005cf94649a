"""W3C trace context, by the rules of https://www.w3.org/TR/trace-context-1/, and spans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.tracing import TraceContext, trace_context
from tests.service.app import Scenario, serve

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("given", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"00-{TRACE}-{PARENT}-ff", True),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", True),
    ],
)
def test_a_valid_parent_is_continued(given: str, sampled: bool) -> None:
    headers = [(b"host", b"test"), (b"traceparent", given.encode())]
    assert trace_context(headers) == TraceContext(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "given",
    [
        "",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
    ],
)
def test_an_invalid_parent_is_none(given: str) -> None:
    assert trace_context([(b"traceparent", given.encode())]) is None


def test_two_parents_are_none() -> None:
    header = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
    assert trace_context([header, header]) is None


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


def times(span: ReadableSpan) -> tuple[int, int]:
    """Return when a span began and ended, in nanoseconds."""
    assert span.start_time is not None
    assert span.end_time is not None
    return span.start_time, span.end_time


def traced(
    bundle: Path, exporter: InMemorySpanExporter, scenario: Scenario, **knobs: Any
) -> dict[str, ReadableSpan]:
    """The spans of `scenario`, by name."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    serve(bundle, scenario, tracer_provider=provider, **knobs)
    provider.shutdown()
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_has_spans_of_its_phases_in_its_callers_trace(
    bundle: Path, exporter: InMemorySpanExporter
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
        await client.post("/solve", json={"question": "x + 2 = 3"}, headers=headers)
        await client.get("/readyz")
        await client.get("/health")

    spans = traced(bundle, exporter, scenario)
    assert set(spans) == {"POST /solve", "queue", "encode", "decode", "verify"}
    request = spans["POST /solve"]
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == PARENT
    assert request.context.trace_state.get("vendor") == "1"
    assert request.attributes is not None
    assert request.attributes["http.route"] == "/solve"
    assert request.attributes["http.response.status_code"] == 200
    for name in ("queue", "encode", "decode", "verify"):
        span = spans[name]
        assert format(span.context.trace_id, "032x") == TRACE
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id
        began_ns, ended_ns = times(span)
        assert began_ns <= ended_ns
    assert times(spans["queue"])[1] == times(spans["encode"])[0]
    assert times(spans["encode"])[1] == times(spans["decode"])[0]
    assert times(spans["decode"])[1] <= times(spans["verify"])[0]
    assert "x + 2" not in "".join(span.to_json() for span in spans.values())


def test_a_caller_that_does_not_sample_is_not_traced(
    bundle: Path, exporter: InMemorySpanExporter
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
        await client.post("/solve", json={"question": "x = 1"}, headers=headers)

    assert traced(bundle, exporter, scenario) == {}


def test_a_kept_answer_has_no_inference_in_its_trace(
    bundle: Path, exporter: InMemorySpanExporter
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/solve", json={"question": "x = 1"})
        exporter.clear()
        await client.post("/solve", json={"question": "x = 1"})

    assert set(traced(bundle, exporter, scenario, cached_answers=9)) == {"POST /solve", "verify"}
