"""Processor time and memory of processes, read from Linux' /proc.

It imports only the standard library, so that a process can measure itself. Where a process has
ended, or there is no /proc, figures are 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
# Positions in /proc/PID/stat after the command's name, which may hold any character: proc(5).
_STATE, _PARENT, _SESSION, _USER, _SYSTEM = 0, 1, 3, 11, 12
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def running(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    fields = _stat(PROC / str(pid))
    return bool(fields) and fields[_STATE] != "Z"


def cpu_s(pid: int) -> float:
    """Return the user and system seconds of one process since its start."""
    fields = _stat(PROC / str(pid))
    return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_S if fields else 0.0


def children(pid: int) -> list[int]:
    """Return the process ids of the children of all threads of a process."""
    found: list[int] = []
    for file in (PROC / str(pid) / "task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except OSError:
            continue  # a thread that has just ended
    return found


def tree(pid: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    yield pid
    for child in children(pid):
        yield from tree(child)


def family(pid: int) -> list[int]:
    """Return a process, its descendants, and the orphans of its session with theirs."""
    stats = {
        int(folder.name): fields for folder in PROC.glob("[0-9]*") if (fields := _stat(folder))
    }
    found = {pid}
    while True:
        more = {
            other
            for other, fields in stats.items()
            if int(fields[_PARENT]) in found or int(fields[_SESSION]) == pid
        } - found
        if not more:
            return sorted(found)
        found |= more


def status_kib(pid: int | str, field: str) -> int:
    """Return a figure of /proc/PID/status in KiB, such as `VmRSS` (resident memory) or `VmHWM`
    (its peak). `pid` may be "self".
    """
    return _kib(PROC / str(pid) / "status", field)


def pss_kib(pid: int) -> int:
    """Return the proportional set size in KiB, in which shared memory counts once."""
    return _kib(PROC / str(pid) / "smaps_rollup", "Pss")


def machine_cpu_s(proc: Path = PROC) -> float:
    """Return the seconds that all processes of the machine have used, without idling."""
    try:
        fields = [int(field) for field in (proc / "stat").read_text().splitlines()[0].split()[1:]]
    except OSError:
        return 0.0
    idle = sum(fields[3:5])  # idle, and waiting for disks
    steal = fields[7]
    return (sum(fields[:8]) - idle - steal) / _TICKS_PER_S


def _stat(folder: Path) -> list[str]:
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _kib(file: Path, field: str) -> int:
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0
