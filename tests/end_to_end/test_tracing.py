"""Spans of a real server, as a collector that speaks OTLP over HTTP receives them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.end_to_end.conftest import start

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector(ThreadingHTTPServer):
    """Keeps the requests that exporters send to `/v1/traces`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.exports: list[ExportTraceServiceRequest] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.exports.append(ExportTraceServiceRequest.FromString(body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        serving = threading.Thread(target=collector.serve_forever)
        serving.start()
        yield collector
        collector.shutdown()
        serving.join()


def test_a_collector_receives_the_spans_of_a_request(collector: Collector) -> None:
    server = start(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_SERVICE_NAME="cybersolve",
        CYBERSOLVE_LOG_FORMAT="json",
    )
    try:
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        question = {"question": "3x + 5 = 20"}
        answer = httpx.post(f"{server.url}/solve", json=question, headers=headers)
        assert answer.json()["answer"] == "5"
    finally:
        _, log = server.stop()  # which sends what is still to be sent
    assert f'"trace_id":"{TRACE}"' in log
    resources = [found for export in collector.exports for found in export.resource_spans]
    assert {
        attribute.value.string_value
        for found in resources
        for attribute in found.resource.attributes
        if attribute.key == "service.name"
    } == {"cybersolve"}
    spans = [span for found in resources for scope in found.scope_spans for span in scope.spans]
    assert sorted(span.name for span in spans) == sorted(
        ["POST /solve", "queue", "encode", "decode", "verify"]
    )
    assert {span.trace_id.hex() for span in spans} == {TRACE}
