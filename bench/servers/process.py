"""The processes of one server: started, ready, what they cost, ended."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.engines.process import ROOT

_READY_S = 120.0
_END_S = 20.0
_ASK_AGAIN_S = 0.1
_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


class ServerFailed(RuntimeError):
    """A server that does not start, or dies; says where its log is."""


class ServerProcess:
    """Runs `command` in a session of its own until closed; `log` takes what it prints."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        try:
            with log.open("w") as file:
                self._process = subprocess.Popen(  # noqa: S603 - our own commands
                    command,
                    cwd=ROOT,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise ServerFailed(f"no {command[0]}; `make bench-servers` installs it") from error

    def wait_ready(self, url: str, *, within_s: float = _READY_S) -> None:
        """Until `url` answers 200. Raises `ServerFailed`."""
        until = time.monotonic() + within_s
        while time.monotonic() < until and self._process.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(_ASK_AGAIN_S)
        raise ServerFailed(f"{url} is not ready; see {self._log}")

    def cpu_s(self) -> float:
        """Processor time that all its processes have used."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def memory_mb(self) -> float:
        """Of all its processes; what several share counts once (proportional set size)."""
        return sum(_pss_kb(pid) for pid in self.pids()) / 1024

    def close(self) -> None:
        """End it, and then whatever it has left behind."""
        before = self.pids()  # workers in sessions of their own are nobody's later
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        for pid in {*before, *self.pids()} - {self._process.pid}:
            _kill(pid)
        self._process.kill()
        self._process.wait()

    def pids(self) -> list[int]:
        """Its descendants, and what belongs to its session though its parent has gone."""
        found = {self._process.pid}
        stats = {
            int(stat.parent.name): fields
            for stat in Path("/proc").glob("[0-9]*/stat")
            if (fields := _stat(stat))
        }
        while True:
            more = {
                pid
                for pid, fields in stats.items()
                if int(fields[1]) in found or int(fields[3]) == self._process.pid
            } - found
            if not more:
                return sorted(found)
            found |= more


def _kill(pid: int) -> None:
    """End a process that need not be our child, and wait until it has ended."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], _END_S)  # readable once it has ended
        finally:
            os.close(process)


def _stat(path: Path) -> list[str]:
    """The fields of proc(5) from the state (the third) on; none where the process has gone."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_s(pid: int) -> float:
    fields = _stat(Path(f"/proc/{pid}/stat"))
    if not fields:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system


def _pss_kb(pid: int) -> int:
    try:
        found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0
