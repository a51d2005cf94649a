"""How busy the whole machine is: neighbours spoil a comparison, so the report tells of them."""

from __future__ import annotations

import os
from pathlib import Path

_STAT = Path("/proc/stat")


def busy_s(stat: Path = _STAT) -> float:
    """Processor seconds that anything has used since the start; 0 where there is no /proc."""
    try:
        fields = [int(field) for field in stat.read_text().splitlines()[0].split()[1:]]
    except OSError:
        return 0.0
    idle = sum(fields[3:5])  # idle, and waiting for disks
    steal = fields[7]
    return (sum(fields[:8]) - idle - steal) / os.sysconf("SC_CLK_TCK")
