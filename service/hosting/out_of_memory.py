"""Tell whether the kernel killed a process of the service to free memory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_COUNT = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)
_MAX_BYTES = 4096


def counter_files(own_groups: Path = _OWN_GROUPS, root: Path = _ROOT) -> Iterator[Path]:
    """Yield the files that may count the kills in this process's control group, v2 or v1.

    A container often sees its own group as the root, whatever its path is called outside.
    """
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            folder, name = root, "memory.events"
        elif "memory" in controllers.split(","):
            folder, name = root / "memory", "memory.oom_control"
        else:
            continue
        yield folder / path.lstrip("/") / name
        yield folder / name


class OutOfMemoryKills:
    """The kernel's count of out-of-memory kills in this control group, each attributed once.

    The file stays open: when it is needed there may be no file handle left. Without such a file
    (no Linux, or no control group of its own) no kill is ever attributed.
    """

    def __init__(self, files: Sequence[Path] | None = None) -> None:
        self._handle: int | None = None
        self._attributed = 0
        for file in counter_files() if files is None else files:
            try:
                handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            count = _read(handle)
            if count is not None:
                self._handle, self._attributed = handle, count
                return
            os.close(handle)

    def attribute(self) -> bool:
        """Return whether there was a kill that was not attributed yet, and attribute it."""
        count = None if self._handle is None else _read(self._handle)
        if count is None or count <= self._attributed:
            return False
        self._attributed += 1
        return True

    def close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _read(handle: int) -> int | None:
    try:
        found = _COUNT.search(os.pread(handle, _MAX_BYTES, 0))
    except OSError:
        return None
    return int(found[1]) if found else None
