"""Processes that this program starts of itself: their command line, and their life below it."""

from __future__ import annotations

import ctypes
import signal
import sys
from pathlib import Path

# Runs the package that contains this module, whatever else is on the path.
_ROOT = str(Path(__file__).resolve().parents[1])
_RUN = (
    "import runpy, sys; root, module = sys.argv.pop(1), sys.argv.pop(1); "
    "root in sys.path or sys.path.insert(0, root); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)
_PR_SET_PDEATHSIG = 1


def command_of(module: str, *arguments: str) -> list[str]:
    """Return the command that runs `module` as a program with `arguments`."""
    # -P: do not run code of the working directory
    return [sys.executable, "-P", "-c", _RUN, _ROOT, module, *arguments]


def live_below_the_parent() -> None:
    """Leave signals to the parent, and let the kernel kill this process when the parent ends.

    Signals to the process group, such as Ctrl-C, are for the parent, which ends its children by
    their sockets. The end of a socket also tells that the parent has ended, but a hung process does
    not read it. Only Linux can kill it then (prctl(2)); elsewhere a hung process is left over.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
