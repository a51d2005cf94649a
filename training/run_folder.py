"""Manage the folder of a run: its settings and its log. Shared by `train` and `finetune`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from training.errors import RunError

SETTINGS, DATA, LOG = "settings.json", "data.json", "log.jsonl"


class Log:
    """A log of one JSON object a line; drops a killed run's entries after its last checkpoint."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        self._started = time.monotonic()
        kept = [entry for entry in read_log(path) if entry["step"] <= step]
        replace_text(path, "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in kept))

    def write(self, **entry: float) -> None:
        """Append an entry of finite numbers; `seconds` count from the start or the last resume."""
        entry["seconds"] = round(time.monotonic() - self._started, 1)
        with self._path.open("a") as file:
            file.write(json.dumps(entry, allow_nan=False) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log, up to a line that a kill has truncated."""
    entries: list[dict[str, Any]] = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def replace_text(path: Path, text: str) -> None:
    """Replace a file atomically: a kill leaves either the old content or the new."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    os.replace(partial, path)


def claim(run_folder: Path, settings: Mapping[str, Any], described: Mapping[str, Any]) -> None:
    """Record the settings and the data of a new run; refuse to mix two runs in one folder.

    Creates the folder if it is missing. Raises `RunError`.
    """
    run_folder.mkdir(parents=True, exist_ok=True)
    for name, value in ((SETTINGS, settings), (DATA, described)):
        path, wanted = run_folder / name, json.loads(json.dumps(value))
        if not path.exists():
            replace_text(path, json.dumps(wanted, indent=2) + "\n")
            continue
        found = json.loads(path.read_text())
        changed = sorted(key for key in wanted if found.get(key) != wanted[key])
        if changed:
            raise RunError(f"{path} differs in {', '.join(changed)}; choose another folder")
