"""Write a run's output: to a file that appears complete or not at all, or to a stream."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.bulk.rows import InputError, OutputError

STANDARD = Path("-")  # stdin or stdout
_STDIN, _STDOUT = 0, 1  # file descriptors


def is_stream(path: Path) -> bool:
    """Return whether `path` is `-`, a pipe or a device: read or written once, in order."""
    return path == STANDARD or (path.exists() and not path.is_file() and not path.is_dir())


def require_different(source: Path, target: Path) -> None:
    """Raise `OutputError` if both are the same file under any name, link or redirection."""
    given, wanted = _status(source, _STDIN), _status(target, _STDOUT)
    if given and wanted and stat.S_ISREG(given.st_mode) and os.path.samestat(given, wanted):
        raise OutputError(f"{target} is the input; name another output")


def _status(path: Path, standard: int) -> os.stat_result | None:
    try:
        return os.fstat(standard) if path == STANDARD else path.stat()
    except OSError:  # does not exist yet, or is closed
        return None


@contextmanager
def opened_input(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading; `-` is stdin. Raises `InputError`."""
    if path == STANDARD:
        # Not `sys.stdin`: at exit Python waits for a thread that still reads from that.
        yield open(_STDIN, "rb", closefd=False)  # noqa: SIM115
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(error.strerror or str(error)) from error
    with file:
        yield file


@contextmanager
def opened_stream(path: Path) -> Iterator[BinaryIO]:
    """Open a stream for writing; `-` is stdout."""
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with path.open("wb") as file:
        yield file


@dataclass(frozen=True)
class Target:
    """An output file that is not a stream."""

    path: Path  # with links resolved, so that a link is not replaced by a file

    @property
    def parts(self) -> Path:
        """Return the folder of an unfinished run's results."""
        return self.path.with_name(f"{self.path.name}.parts")

    def require_free(self, *, resume: bool, overwrite: bool) -> None:
        """Raise `OutputError` if the run would overwrite a file without permission."""
        if self.path.is_dir():
            raise OutputError(f"{self.path} is a folder; name a file in it")
        if not self.path.parent.is_dir():
            raise OutputError(f"{self.path}: there is no such folder")
        if overwrite:
            return
        if self.parts.exists() and not resume:
            raise OutputError(
                f"{self.parts} holds the results of an interrupted run; --resume continues it, "
                "--overwrite starts anew"
            )
        if self.path.exists() and not self.replaces:
            raise OutputError(f"{self.path} exists; --overwrite replaces it")

    @property
    def replaces(self) -> bool:
        """Return whether the unfinished run was started with --overwrite."""
        return self._marker.exists()

    def mark_replaced(self) -> None:
        """Record in the folder of results that the finished run replaces the file."""
        self._marker.touch()

    @property
    def _marker(self) -> Path:
        return self.parts / "overwrite"

    @contextmanager
    def written(self) -> Iterator[BinaryIO]:
        """Open the file for writing. It appears, flushed to the disk, if the block succeeds."""
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        try:
            with unfinished.open("w+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists() and not self.replaces:
                raise OutputError(f"{self.path} was created meanwhile; move it and use --resume")
            unfinished.replace(self.path)
        finally:
            unfinished.unlink(missing_ok=True)
