"""The parent's side of a contender: a child process that answers lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_CLOSE_S = 20.0


class ContenderFailed(RuntimeError):
    """An engine that cannot be loaded, or that raised or died at its task."""


class ContenderProcess:
    """Runs `python -m bench.engines.contender` until closed; `log` takes what it prints."""

    def __init__(self, python: Path, log: Path) -> None:
        self._log = log
        try:
            with log.open("w") as file:
                self._process = subprocess.Popen(  # noqa: S603 - our own module
                    [str(python), "-P", "-m", "bench.engines.contender"],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=file,
                    text=True,
                    # No hub is asked for anything: all that is loaded lies in folders.
                    env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
                )
        except FileNotFoundError as error:
            raise ContenderFailed(f"cannot load: no {python}; `make bench` installs it") from error

    def ask(self, **task: object) -> dict[str, Any]:
        """The reply to one task. Raises `ContenderFailed`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise ContenderFailed(f"died; see {self._log}") from error
        line = self._process.stdout.readline()
        if not line:
            raise ContenderFailed(f"died; see {self._log}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderFailed(reply["error"])
        return reply

    def cpu_s(self) -> float:
        """Processor time that it and its workers have used; 0 where there is no /proc."""
        return sum(_cpu_s(pid) for pid in _tree(self._process.pid))

    def close(self) -> None:
        """End it: it stops at the end of its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            numbers = children.read_text().split()
        except OSError:
            continue  # a thread that has just ended
        for number in numbers:
            yield from _tree(int(number))


def _cpu_s(pid: int) -> float:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    user, system = int(after_name[11]), int(after_name[12])  # fields 14 and 15 of proc(5)
    return (user + system) / os.sysconf("SC_CLK_TCK")
