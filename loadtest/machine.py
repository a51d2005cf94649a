"""The machine of a run: its processor, the commit, and how busy its cores were."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

_PROC = Path("/proc")


def processor() -> str:
    """Return the number of cores and the processor's name."""
    info = _PROC / "cpuinfo"
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return f"{os.cpu_count()} cores, {found[1].strip() if found else platform.machine()}"


def commit() -> str | None:
    """Return the commit of the checkout, marked where files differ; None without one."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


class CpuShare:
    """The share of this machine's processor time that was used since construction, of everything.

    It counts the service only where the service runs on this machine.
    """

    def __init__(self) -> None:
        self._before = _ticks()

    def so_far(self) -> float | None:
        """Return the share from 0 to 1; None where there is no /proc."""
        after = _ticks()
        if self._before is None or after is None or after[1] == self._before[1]:
            return None
        return (after[0] - self._before[0]) / (after[1] - self._before[1])


def _ticks() -> tuple[int, int] | None:
    """Return busy and all ticks of all cores since the machine started: proc(5), /proc/stat."""
    try:
        fields = [int(field) for field in (_PROC / "stat").read_text().split("\n")[0].split()[1:9]]
    except OSError:
        return None
    idle = fields[3] + fields[4]  # and waiting for a disk
    return sum(fields) - idle, sum(fields)
