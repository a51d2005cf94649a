"""Find the service to test, or start one for the time of the test."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_READY_S = 60.0
_POLL_S = 0.02
_HTTP_OK = 200
_PORTS = range(15_000, 32_768)  # Linux gives outgoing connections the ports from 32,768 on


class ServerError(RuntimeError):
    """No service is ready; the message gives the address."""


@contextmanager
def service(url: str | None) -> Iterator[str]:
    """Yield the address of a ready service: `url`, or one that runs only for the block."""
    if url is not None:
        _wait(url, None)
        yield url.rstrip("/")
        return
    with started() as (_, address):
        yield address


@contextmanager
def started(cached_answers: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a service on a free port, and yield its process and address once it is ready.

    By default it caches no answers, because cached ones would hide what computing them costs.
    """
    port = free_port()
    environment = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "CYBERSOLVE_CACHED_ANSWERS": str(cached_answers),
    }
    command = [sys.executable, "-P", "-m", "service.cli", "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}", process)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_READY_S)


def info(url: str) -> dict[str, Any]:
    """Return the model's description at `/info`."""
    with urllib.request.urlopen(f"{url}/info", timeout=5) as answer:
        described: dict[str, Any] = json.load(answer)
    return described


def free_port() -> int:
    """Return a TCP port of this machine that is free at the moment.

    It is below those from which systems give outgoing connections theirs: one of these could take
    it before a server does.
    """
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def becomes_ready(url: str, process: subprocess.Popen[Any] | None, *, within_s: float) -> bool:
    """Wait until `url` answers 200; False where the time is over or `process` has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == _HTTP_OK:
                    return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(_POLL_S)
    return False


def _wait(url: str, process: subprocess.Popen[bytes] | None) -> None:
    if not url.startswith(("http://", "https://")):
        raise ServerError(f"{url}: expected http://... or https://...")
    if not becomes_ready(f"{url}/readyz", process, within_s=_READY_S):
        raise ServerError(f"{url}: no ready service there")
