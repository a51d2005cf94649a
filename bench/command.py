"""What the commands of `bench` share: how options are read, and what a run was measured on."""

from __future__ import annotations

import argparse
import platform
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.cpu import available_cpus

ROOT = Path(__file__).resolve().parents[1]


def parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """For `python -m MODULE`, described by the first line of its docstring."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=doc.splitlines()[0] if doc else None,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


def typed(module: str, argv: Sequence[str] | None) -> str:
    """The command as it was typed; `argv` is its options, those of this process if `None`."""
    return f"python -m {module} {shlex.join(sys.argv[1:] if argv is None else argv)}".strip()


def exit_when_terminated() -> None:
    """Ended from outside, a command still ends the processes that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def say(text: str) -> None:
    """On the way: what is printed is the result."""
    print(text, file=sys.stderr, flush=True)


def machine() -> str:
    """Cores and processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f"{available_cpus()} cores, {name}"


def commit() -> str | None:
    """The commit measured, marked where files differ from it; None without a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
