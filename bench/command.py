"""Options, output and machine of the commands of `bench`."""

from __future__ import annotations

import platform
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from commandline.parser import Parser
from engine.cpu import available_cpus

ROOT = Path(__file__).resolve().parents[1]


def parser(module: str, doc: str | None) -> Parser:
    """Return the parser of `python -m MODULE`; the first line of its docstring describes it."""
    return Parser(prog=f"python -m {module}", description=doc.splitlines()[0] if doc else None)


def typed(module: str, argv: Sequence[str] | None) -> str:
    """Return the command as typed; `argv` has its options, by default those of this process."""
    return f"python -m {module} {shlex.join(sys.argv[1:] if argv is None else argv)}".strip()


def exit_when_terminated() -> None:
    """Exit on SIGTERM through `finally` blocks, which end the processes that a command started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def say(text: str) -> None:
    """Print progress to stderr; stdout has the result."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """Return the number of cores and the processor's name."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{available_cpus()} cores, {name}"


def commit() -> str | None:
    """Return the commit, marked where files differ from it; None without a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
