"""The process of a candidate engine: it answers lines of JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.command import ROOT
from bench.comparison.candidates import CandidateFailed, start
from bench.processes import cpu_s, tree

_CLOSE_S = 20.0


class EngineProcess:
    """Runs `python -m bench.engines.candidate` until closed; `log` takes what it prints."""

    def __init__(self, python: Path, log: Path) -> None:
        self._log = log
        self._process = start(
            [str(python), "-P", "-m", "bench.engines.candidate"],
            # Everything that it loads lies in folders, so it asks no hub.
            {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
            log,
            verb="bench",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, **task: object) -> dict[str, Any]:
        """Return the reply to one task. Raises `CandidateFailed`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise CandidateFailed(f"died; see {self._log}") from error
        line = self._process.stdout.readline()
        if not line:
            raise CandidateFailed(f"died; see {self._log}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise CandidateFailed(reply["error"])
        return reply

    def cpu_s(self) -> float:
        """Return the processor time that it and its workers have used."""
        return sum(map(cpu_s, tree(self._process.pid)))

    def close(self) -> None:
        """Close its input, at whose end it stops; kill it where it does not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
