"""The health check of a container asks the port on which the service listens, however it is set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.health_check import main


class Probe(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A server that answers `/readyz` with the status of the test's parameter."""
    handler = type("Handler", (Probe,), {"status": getattr(request, "param", 200)})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("HOST", "PORT", "CYBERSOLVE_PORT", "CYBERSOLVE_METRICS_PORT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("name", ["PORT", "CYBERSOLVE_PORT", "CYBERSOLVE_METRICS_PORT"])
def test_it_follows_every_variable(name: str, port: int, variables: pytest.MonkeyPatch) -> None:
    variables.setenv(name, str(port))
    variables.setenv("CYBERSOLVE_HOST", "0.0.0.0")  # noqa: S104 - as in the image
    assert main() == 0


@pytest.mark.parametrize("port", [503], indirect=True)
def test_a_service_that_is_not_ready_is_not_healthy(
    port: int, variables: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables.setenv("PORT", str(port))
    assert main() == 1
    assert capsys.readouterr().err == "not ready: status 503\n"


@pytest.mark.parametrize(
    ("value", "complaint"), [("0", "error: "), ("many", "error: CYBERSOLVE_PORT is 'many'")]
)
def test_nothing_there_is_one_line(
    value: str, complaint: str, variables: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables.setenv("PORT", value)
    assert main() == 1
    said = capsys.readouterr().err
    assert said.startswith(complaint)
    assert said.count("\n") == 1
