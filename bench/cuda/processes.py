"""Processes with a time limit that report lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.command import ROOT

_REASON = 300  # characters of the last line of a log
LOG_SHOWN = 3000  # of its end, in a report
OnResult = Callable[[dict[str, Any]], None]


class StepFailed(RuntimeError):
    """A process ended with an error or was stopped at its limit; the message is the reason."""


def own_environment() -> dict[str, str]:
    """Return the variables with which `python -P -m` finds our modules before installed ones."""
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(ROOT), *([inherited] if inherited else [])])
    # All that is loaded lies in folders, so no hub is asked.
    return {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}


class Processes:
    """Start modules of this package, each in a process group of its own, until closed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def log(self, name: str) -> Path:
        """Return the file of what a process called `name` prints."""
        return self._folder / f"{name}.log"

    def run(
        self,
        name: str,
        module: Sequence[str],
        *,
        python: Path,
        limit_s: float,
        on_result: OnResult = lambda _: None,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Run `python -m MODULE ARGUMENTS` to its end; give each result to `on_result`.

        Raises `StepFailed`.
        """
        process = self._start(name, [str(python), "-P", "-m", *module], environment or {})
        expired = threading.Event()

        def stop() -> None:
            expired.set()
            _kill(process)

        timer = threading.Timer(limit_s, stop)
        timer.start()
        try:
            assert process.stdout is not None
            with process.stdout as results:
                for line in results:
                    on_result(json.loads(line))
            status = process.wait()
        finally:
            timer.cancel()
            _kill(process)  # what it started may outlive it
            with self._lock:
                self._running.discard(process)
        if expired.is_set():
            raise StepFailed(f"stopped after {limit_s:.0f} s")
        if status:
            raise StepFailed(f"exit status {status}: {_last_line(self.log(name))}")

    def _start(
        self, name: str, command: Sequence[str], environment: dict[str, str]
    ) -> subprocess.Popen[str]:
        with self._lock, self.log(name).open("w", encoding="utf-8") as log:
            if self._closed:
                raise StepFailed("the comparison ended")
            try:
                process = subprocess.Popen(  # noqa: S603 - our own modules
                    command,
                    cwd=ROOT,
                    env={**os.environ, **own_environment(), **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            except OSError as error:
                raise StepFailed(f"cannot start {command[0]}: {error.strerror}") from error
            self._running.add(process)
        return process

    def close(self) -> None:
        """Kill what still runs; nothing starts afterwards."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip()[:_REASON] for line in reversed(lines) if line.strip()), "no output")
