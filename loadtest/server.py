"""A service to test: one that runs already, or one of its own for the time of the test."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_READY_S = 60.0
_HTTP_OK = 200


class ServerError(RuntimeError):
    """There is no ready service to test; says where it was looked for."""


@contextmanager
def service(url: str | None) -> Iterator[str]:
    """The address of a ready service: `url`, or one started here and stopped afterwards."""
    if url is not None:
        _wait(url, None)
        yield url.rstrip("/")
        return
    with started() as (_, address):
        yield address


@contextmanager
def started(cached_answers: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A ready service of its own, on a free port of this machine, and its address.

    It keeps no answers unless told to: a test asks each question anew, or it would measure a
    dictionary.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
    """What `/info` says of the model."""
    with urllib.request.urlopen(f"{url}/info", timeout=5) as answer:
        described: dict[str, Any] = json.load(answer)
    return described


def _wait(url: str, process: subprocess.Popen[bytes] | None) -> None:
    if not url.startswith(("http://", "https://")):
        raise ServerError(f"{url}: expected http://... or https://...")
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and (process is None or process.poll() is None):
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
                if answer.status == _HTTP_OK:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise ServerError(f"{url}: no ready service there")
