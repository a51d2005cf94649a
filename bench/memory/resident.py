"""Measure the resident memory of this process while it loads or serves.

The process imports no more than it measures. Linux only: figures come from /proc.
"""

from __future__ import annotations

from pathlib import Path

from bench.processes import status_kib
from engine.bundle import load_manifest
from engine.contracts import Prompt, Tokens
from engine.generate import generate
from engine.ort import OrtEngine, OrtModel
from engine.sessions import open_sessions

_KIB = 1024  # in a MiB
_ROWS = 32


def mib(field: str) -> float:
    """Return a figure of this process in MiB, by its name in /proc/self/status."""
    return status_kib("self", field) / _KIB


def peak_of_session(graph: Path) -> float:
    """Return the peak of resident memory, in MiB, after opening a session for `graph`."""
    open_sessions([graph], threads=1, provider="cpu")
    return mib("VmHWM")


def peak_of_loading(bundle: Path) -> float:
    """Return the peak of resident memory, in MiB, after checking and loading the bundle."""
    OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu")
    return mib("VmHWM")


def while_serving(bundle: Path, sources: list[Tokens], stages: int) -> list[float]:
    """Return the resident MiB of one engine after each of `stages` passes over `sources`."""
    engine = OrtEngine(
        OrtModel(bundle, load_manifest(bundle), threads=1, provider="cpu"), rows=_ROWS
    )
    prompts = [Prompt(tuple(source)) for source in sources]
    resident = []
    for _ in range(stages):
        generate(engine, prompts)
        resident.append(round(mib("VmRSS"), 1))
    return resident
