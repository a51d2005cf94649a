"""The results of an unfinished run, in a folder beside its output, so that it can be resumed.

`OUTPUT.parts` holds `plan.json`, which says what the run answers, and `results.jsonl`, to which
each result is appended as `[index, result]` as soon as there is one. A process that is killed loses
the questions under way and nothing else: a last line that was cut off is dropped when the journal
is opened again.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.bulk.rows import OutputError


@dataclass(frozen=True)
class Plan:
    """The inputs that determine the results of a run. A run with another plan cannot resume it."""

    input_sha256: str
    input_format: str
    fallback: str
    max_tries: int
    model_sha256: str  # digest of the bundle's manifest, which has the digests of all its files


class Journal:
    """Results by the index of their question. One process at a time may hold the journal."""

    def __init__(self, folder: Path, plan: Plan, *, anew: bool = False) -> None:
        """Open the journal in `folder`, or begin one there; `anew` drops what it holds.

        Raises `OutputError` if it belongs to another plan or another process writes it.
        """
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._file = (folder / "results.jsonl").open("a+b")
        try:
            self._lock()
            if anew:
                self._file.truncate(0)
                (folder / "plan.json").unlink(missing_ok=True)
            self._agree_on(plan)
        except OutputError:
            self._file.close()
            raise
        self._offsets: dict[int, int] = {}
        self._read()

    def __len__(self) -> int:
        return len(self._offsets)

    def __contains__(self, index: int) -> bool:
        return index in self._offsets

    def append(self, index: int, result: dict[str, Any]) -> None:
        self._offsets[index] = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps([index, result]).encode() + b"\n")
        self._file.flush()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the results in the order of their questions."""
        for index in sorted(self._offsets):
            self._file.seek(self._offsets[index])
            yield json.loads(self._file.readline())[1]

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """Delete the journal: its results are in the output."""
        self.close()
        shutil.rmtree(self._folder)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{self._folder} is in use by another run") from error

    def _agree_on(self, plan: Plan) -> None:
        path = self._folder / "plan.json"
        wanted = asdict(plan)
        if not path.exists():
            written = path.with_suffix(".new")
            written.write_text(json.dumps(wanted))
            written.replace(path)
        found = json.loads(path.read_text())
        if found != wanted:
            differ = ", ".join(name for name in wanted if found.get(name) != wanted[name])
            raise OutputError(
                f"{self._folder} holds the results of another run ({differ} differ); finish that "
                "run, or start anew with --overwrite"
            )

    def _read(self) -> None:
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            self._offsets[json.loads(line)[0]] = end
            end += len(line)
        self._file.truncate(end)
