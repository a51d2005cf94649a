"""Prepare the models' files in the background, while the first steps already run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from bench.cuda.models import REAL
from bench.cuda.plan import Step
from bench.cuda.processes import Processes, StepFailed

CHECKPOINT, BUNDLE, CTRANSLATE2 = "checkpoint", "bundle", "ctranslate2"
_PART_OF = {"ours": BUNDLE, "ctranslate2": CTRANSLATE2}
_LIMIT_S = 400.0
_OTHERS_S = 150.0  # from the start, that traces and times wait for the files of other steps


class Preparation:
    """The parts of each shape that `steps` need; every one is a process of its own."""

    def __init__(
        self, steps: Iterable[Step], processes: Processes, cache: Path, baselines_python: Path
    ) -> None:
        self._processes = processes
        self._cache = cache
        self._pythons = {CTRANSLATE2: baselines_python}
        self.seconds: dict[str, float] = {}  # that each part took
        self._alone_by = time.monotonic() + _OTHERS_S
        parts: dict[tuple[str, str], None] = {}
        for step in steps:
            if step.shape != REAL:
                parts[step.shape, CHECKPOINT] = None
            if step.engine.kind in _PART_OF:
                parts[step.shape, _PART_OF[step.engine.kind]] = None
        # As many threads as parts: some wait for others.
        self._pool = ThreadPoolExecutor(len(parts) or 1)
        self._futures: dict[tuple[str, str], Future[None]] = {}
        for shape, part in parts:
            self._futures[shape, part] = self._pool.submit(self._make, shape, part)

    def wait_for(self, step: Step, timeout_s: float, *, alone: bool) -> None:
        """Return when the files of `step` are there, and with `alone` all others too, or late.

        Raises `StepFailed` where they cannot be made or take over `timeout_s`.
        """
        own = [(step.shape, CHECKPOINT), (step.shape, _PART_OF.get(step.engine.kind, CHECKPOINT))]
        needed = [self._futures[key] for key in own if key in self._futures]
        started = time.monotonic()
        wait(needed, timeout_s)
        if alone:
            now = time.monotonic()
            others_s = min(self._alone_by - now, timeout_s - (now - started))
            wait(self._futures.values(), max(0.0, others_s))
        for future in needed:
            if not future.done():
                raise StepFailed(f"its files were not ready in {timeout_s:.0f} s")
            future.result()

    def close(self) -> None:
        """Start no more parts; those that run are killed with `Processes`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, shape: str, part: str) -> None:
        if part != CHECKPOINT and (shape, CHECKPOINT) in self._futures:
            self._futures[shape, CHECKPOINT].result()
        started = time.monotonic()
        self._processes.run(
            f"prepare-{shape}-{part}",
            ["bench.cuda.prepare", part, shape, str(self._cache)],
            python=self._pythons.get(part, Path(sys.executable)),
            limit_s=_LIMIT_S,
        )
        self.seconds[f"{shape} {part}"] = round(time.monotonic() - started, 1)
