"""The measured processes, which import no more than what they measure needs.

Linux only: figures are from /proc. Nothing here judges them.
"""

from __future__ import annotations

import re
from pathlib import Path

from engine.bundle import load_manifest
from engine.contracts import Prompt, Tokens
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.sessions import open_sessions

_KB = 1024  # in a MiB
_ROWS = 32


def mib(field: str) -> float:
    """A figure of this process in MiB, by its name in /proc/self/status."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"no {field} in /proc/self/status"
    return int(found[1]) / _KB


def peak_of_session(graph: Path) -> float:
    """The most that was resident, in MiB, after a session for `graph` was opened."""
    open_sessions([graph], threads=1, provider="cpu")
    return mib("VmHWM")


def peak_of_loading(bundle: Path) -> float:
    """The most that was resident, in MiB, after the bundle was checked and loaded."""
    OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu")
    return mib("VmHWM")


def while_serving(bundle: Path, sources: list[Tokens], stages: int) -> list[float]:
    """Resident MiB of one engine after each of `stages` passes over `sources`."""
    engine = OrtEngine(
        OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu"), rows=_ROWS
    )
    prompts = [Prompt(tuple(source)) for source in sources]
    resident = []
    for _ in range(stages):
        generate(engine, prompts)
        resident.append(round(mib("VmRSS"), 1))
    return resident
