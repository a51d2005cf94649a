"""Where a run's output goes: a file that appears whole or not at all, or a stream."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.bulk.rows import InputError, OutputError

STANDARD = Path("-")  # stdin or stdout


def is_stream(path: Path) -> bool:
    """Return whether `path` is `-`, a pipe, a device: what is read or written once, in order."""
    return path == STANDARD or (path.exists() and not path.is_file() and not path.is_dir())


@contextmanager
def opened_input(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading; `-` is stdin. Raises `InputError`."""
    if path == STANDARD:
        # Not `sys.stdin`: at exit Python waits for a thread that still reads from that.
        yield open(sys.stdin.fileno(), "rb", closefd=False)  # noqa: SIM115
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
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

    path: Path  # with links followed, so that a link is not replaced by a file

    @property
    def parts(self) -> Path:
        """The folder of an unfinished run's results."""
        return self.path.with_name(f"{self.path.name}.parts")

    def require_free(self, source: Path, *, resume: bool, overwrite: bool) -> None:
        """Raises `OutputError` where this run would destroy something that it may not."""
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise OutputError(f"{self.path} cannot be a file")
        if self.path.exists() and source.exists() and self.path.samefile(source):
            raise OutputError(f"{self.path} is the input; name another output")
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
        """Whether the unfinished run was started with --overwrite."""
        return self._marker.exists()

    def mark_replaced(self) -> None:
        """Remember in the folder of results that the finished run replaces the file."""
        self._marker.touch()

    @property
    def _marker(self) -> Path:
        return self.parts / "overwrite"

    @contextmanager
    def written(self) -> Iterator[BinaryIO]:
        """Write the file: it appears, flushed to the disk, when the block ends without an error."""
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
