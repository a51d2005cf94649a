"""A server in a process of its own, and what can be seen and done to it from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from bench import processes
from loadtest.server import free_port
from tests.signals import heed_signals

ROOT = Path(__file__).resolve().parents[2]
LONG_S = 60.0  # a bound for what is broken, not a promise
LOOK_S = 0.02


class Server:
    """`cybersolve serve`, its log and its processes; `shards`: it has several HTTP processes."""

    def __init__(
        self, process: subprocess.Popen[bytes], port: int, log: Path, *, shards: bool = False
    ) -> None:
        self.process = process
        self._shards = shards
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    # -- over HTTP -------------------------------------------------------------------------------

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=LONG_S).status_code == 200
        except httpx.TransportError:
            return False

    def solve(self, question: str, **more: object) -> httpx.Response:
        body = {"question": question, **more}
        return httpx.post(f"{self.url}/solve", json=body, timeout=LONG_S)

    def metric(self, series: str) -> float:
        """Return the value of a series, with labels and without the prefix; 0 if missing."""
        text = httpx.get(f"{self.url}/metrics", timeout=LONG_S).text
        found = re.search(rf"^cybersolve_{re.escape(series)} (\S+)$", text, re.MULTILINE)
        assert found or "{" in series, f"no series {series}"
        return float(found[1]) if found else 0.0

    def statuses(self, route: str) -> dict[int, int]:
        """Return the number of requests of `route` by status."""
        text = httpx.get(f"{self.url}/metrics", timeout=LONG_S).text
        series = rf'^cybersolve_requests_total{{route="{route}",status="(\d+)"}} (\S+)$'
        return {int(s): int(float(n)) for s, n in re.findall(series, text, re.MULTILINE)}

    # -- processes -------------------------------------------------------------------------------

    def engines(self) -> list[int]:
        """Process ids of its engines."""
        if not self._shards:
            return processes.children(self.process.pid)
        return [engine for shard in self.shards() for engine in processes.children(shard)]

    def shards(self) -> list[int]:
        """Process ids of its HTTP processes, where there are several."""
        return processes.children(self.process.pid)

    def signal_engines(self, number: signal.Signals) -> None:
        for pid in self.engines():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def handles(self) -> int:
        """Open files and sockets of the service, all its processes."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self._all())

    def memory_kib(self) -> int:
        """Resident, of the service, all its processes."""
        return sum(processes.status_kib(pid, "VmRSS") for pid in self._all())

    def _all(self) -> list[int]:
        return list(processes.tree(self.process.pid))

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(LONG_S)


def until(condition: Callable[[], object], what: str) -> None:
    """Returns once `condition` holds; fails should it take far too long."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(LOOK_S)


def gone(pid: int) -> bool:
    """Neither running nor a zombie."""
    return not Path(f"/proc/{pid}").exists()


@contextmanager
def serving(folder: Path, stderr: int | None = None, **settings: object) -> Iterator[Server]:
    """A ready server, its log in `folder` or on `stderr`, which is closed here; `settings` without
    their prefix.

    It computes every answer. Afterwards it has ended, and so have the processes below it.
    """
    port = free_port()
    given = {f"CYBERSOLVE_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {"CYBERSOLVE_CACHED_ANSWERS": "0", "HOST": "127.0.0.1", "PORT": str(port)}
    log = folder / f"server-{port}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"],
            cwd=ROOT,
            env={**os.environ, **environment, **given},
            stdout=file,
            stderr=subprocess.STDOUT if stderr is None else stderr,
            preexec_fn=heed_signals,  # noqa: PLW1509  # only resets signals
        )
    if stderr is not None:
        os.close(stderr)
    server = Server(process, port, log, shards=int(str(settings.get("processes", 1))) > 1)
    try:
        until(lambda: process.poll() is not None or server.ready(), "ready")
        assert process.poll() is None, server.log
        yield server
    finally:
        left = _end(server)
    until(lambda: all(map(gone, left)), f"the end of the processes {left}")


def _end(server: Server) -> list[int]:
    """The processes that it had. One that a test has stopped goes on first."""
    if server.process.poll() is not None:
        return []
    _, *below = processes.tree(server.process.pid)
    for pid in below:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    for number in (signal.SIGCONT, signal.SIGTERM):
        server.process.send_signal(number)
    try:
        server.process.wait(LONG_S)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
        raise
    return below
