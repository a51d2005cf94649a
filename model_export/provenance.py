"""Record where a bundle comes from: the training run of its checkpoint and the exporting code."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any


class RunError(ValueError):
    """A run folder lacks a file that a bundle needs."""


def training_of(run: Path, hardware: str) -> dict[str, Any] | None:
    """Return the training record of a run's folder; `None` for a checkpoint without one."""
    if not (run / "log.jsonl").exists():
        return None
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [entry for entry in log if "loss" in entry]
    if not losses:
        raise RunError(f"{run / 'log.jsonl'}: no training loss; train first")
    settings = json.loads((run / "settings.json").read_text())
    return {
        "settings": settings,
        "steps": losses[-1]["step"],
        **_seen(losses[-1]["step"], settings),
        "loss": losses[-1]["loss"],
        "hardware": hardware,
        "data": json.loads((run / "data.json").read_text()),
    }


def _seen(steps: int, settings: dict[str, Any]) -> dict[str, int]:
    """Return how much a run has learnt from: tokens, of batches of about as many, or examples."""
    if "batch_tokens" in settings:
        return {"tokens": steps * settings["batch_tokens"]}
    return {"examples": steps * settings["batch_size"]}


def commit() -> str | None:
    """Return the commit of the exporting code; `None` without git or a repository."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()
