"""The service as users run it: a process of its own, a real port, the bundled model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import pytest

from loadtest.server import free_port

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0  # generous: a bound for a broken start, not a promise


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[bytes]
    url: str
    log: IO[str]  # a file: a pipe that nobody reads would fill, and stop the server

    def stop(self) -> tuple[int, str]:
        """Ask it to end; its exit status and what it said."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=START_S)
        with self.log:
            return status, self.said()

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()


def start(**environment: str) -> Server:
    """A server that is ready."""
    port, log = free_port(), tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve"],
        cwd=ROOT,
        env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port), **environment},
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    server = Server(process, f"http://127.0.0.1:{port}", log)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, server.said()
        try:
            if httpx.get(f"{server.url}/readyz").status_code == 200:
                return server
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    process.kill()
    raise AssertionError("the server did not become ready")


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """Computes every answer, so that no test is shown the answer to another's question."""
    running = start(CYBERSOLVE_CACHED_ANSWERS="0")
    yield running
    with running.log:  # also where the process has ended by itself
        if running.process.poll() is None:
            running.stop()
