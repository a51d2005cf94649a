"""Candidates of a comparison and their processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

from bench.command import ROOT


class CandidateFailed(RuntimeError):
    """A candidate cannot start, raises or dies at its task, or answers wrongly."""


class Entry(Protocol):
    """A candidate as configured; `label` names it in reports."""

    @property
    def label(self) -> str: ...


class Process(Protocol):
    """A candidate's process with its workers."""

    def cpu_s(self) -> float:
        """Return the processor time that it has used; 0 where there is no /proc."""
        ...

    def close(self) -> None: ...


EntryT = TypeVar("EntryT", bound=Entry)
SetupT = TypeVar("SetupT")
ProcessT = TypeVar("ProcessT", bound=Process)


@dataclass(frozen=True)
class Candidate(Generic[EntryT, SetupT, ProcessT]):
    """An entry that runs with one setup."""

    entry: EntryT
    setup: SetupT
    process: ProcessT

    @property
    def label(self) -> str:
        return self.entry.label


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, verb: str, **pipes: Any
) -> subprocess.Popen[str]:
    """Start `command` in the repository's root; its stderr goes to `log`.

    Raises `CandidateFailed` where its interpreter is missing, and names the `verb` of make that
    installs it.
    """
    try:
        with log.open("w") as file:
            return _popen(command, environment, file, pipes)
    except FileNotFoundError as error:
        raise CandidateFailed(f"cannot load: no {command[0]}; `make {verb}` installs it") from error


def _popen(
    command: Sequence[str], environment: Mapping[str, str], log: IO[str], pipes: Mapping[str, Any]
) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own commands
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        **{"stdout": log, "stderr": log, **pipes},
    )
