"""The servers that are compared, how each is started, and the settings that are tried."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.command import ROOT
from bench.servers.candidate.setup import Setup

OURS = "ours"
_CANDIDATES = "bench.servers.candidate"
Knobs = Mapping[str, Sequence[Any]]  # a field of `Setup`: values to try, the first to begin with


@dataclass(frozen=True)
class Entry:
    """One server; `command` and `environment` start it with a setup."""

    label: str
    python: Path
    knobs: Knobs
    ready: str  # path that answers 200 once it takes questions

    def first(self, bundle: Path, workers: int) -> Setup:
        """Return the setup that the search starts with, still without a port."""
        plain = Setup(bundle=str(bundle.resolve()), port=0, workers=workers, rows=32, max_batch=32)
        return replace(plain, **{name: values[0] for name, values in self.knobs.items()})

    def others(self, knob: str, best: Setup) -> Iterator[Setup]:
        """Yield the best setup so far with each other value of one knob."""
        for value in self.knobs[knob]:
            if value != getattr(best, knob):
                yield replace(best, **{knob: value})

    def shown(self, setup: Setup) -> str:
        """Return the settings that were searched."""
        return ", ".join(f"{name} {getattr(setup, name)}" for name in self.knobs) or "defaults"

    def command(self) -> list[str]:
        python = str(self.python)
        if self.label == OURS:
            return [python, "-P", "-m", "service.cli", "serve"]
        if self.label == "litserve":
            return [python, "-P", "-m", f"{_CANDIDATES}.with_litserve"]
        return [python, "-P", "-m", "bentoml", "serve", f"{_CANDIDATES}.with_bentoml:Solving"]

    def environment(self, setup: Setup) -> dict[str, str]:
        if self.label == OURS:
            return {
                "HOST": "127.0.0.1",
                "PORT": str(setup.port),
                "CYBERSOLVE_MODEL": setup.bundle,
                "CYBERSOLVE_WORKERS": str(setup.workers),
                "CYBERSOLVE_THREADS": "1",
                # The same work for every question as in the baselines: no cache, no alternatives.
                "CYBERSOLVE_CACHED_ANSWERS": "0",
                "CYBERSOLVE_MAX_TRIES": "1",
            }
        return {
            **setup.environment(),
            # `bentoml` starts its workers with the first `python` in the path.
            "PATH": f"{self.python.parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "BENTOML_DO_NOT_TRACK": "True",
        }


def entries(baselines_python: Path, cores: int) -> list[Entry]:
    """Return ours as shipped, and baselines with the knobs that their guides name for speed."""
    litserve: Knobs = {
        "wait_s": (0.005, 0.001, 0.02),
        "max_batch": (32, 16, 64),
        "fast_queue": (True, False),
        "http_processes": (1, cores),
    }
    bentoml: Knobs = {
        "max_batch": (32, 16, 64),
        "max_latency_ms": (60_000, 5_000),
        "workers": (cores, cores + 1),
    }
    return [
        Entry(OURS, Path(sys.executable), {}, "/readyz"),
        Entry("litserve", baselines_python, litserve, "/health"),
        Entry("bentoml", baselines_python, bentoml, "/readyz"),
    ]
