"""The processes of a candidate server."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.comparison.candidates import CandidateFailed, start
from bench.processes import cpu_s, family, pss_kib
from loadtest.server import becomes_ready

_READY_S = 120.0
_END_S = 20.0


class ServerProcess:
    """Runs `command` in a session of its own until closed; `log` takes what it prints."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._process = start(
            command,
            environment,
            log,
            verb="bench-servers",
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_ready(self, url: str, within_s: float = _READY_S) -> None:
        """Wait until `url` answers 200. Raises `CandidateFailed`."""
        if not becomes_ready(url, self._process, within_s=within_s):
            raise CandidateFailed(f"{url} is not ready; see {self._log}")

    def cpu_s(self) -> float:
        """Return the processor time of all its processes."""
        return sum(map(cpu_s, self.pids()))

    def memory_mb(self) -> float:
        """Return the memory of all its processes; shared memory counts once."""
        return sum(map(pss_kib, self.pids())) / 1024

    def close(self) -> None:
        """Stop it, and kill what it has left behind."""
        before = self.pids()  # later, workers in sessions of their own are no descendants
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        for pid in {*before, *self.pids()} - {self._process.pid}:
            _kill(pid)
        self._process.kill()
        self._process.wait()

    def pids(self) -> list[int]:
        """Return its descendants, and the processes of its session whose parent has ended."""
        return family(self._process.pid)


def _kill(pid: int) -> None:
    """Kill a process that need not be our child, and wait until it has ended."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], _END_S)  # readable once it has ended
        finally:
            os.close(process)
