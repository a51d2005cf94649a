"""A thread that writes log lines, so that logging never waits for a file, a pipe or a terminal.

Lines wait in memory, up to a bound. Over it, lines are dropped and counted; once writing succeeds
again, a line says how many.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import threading
from collections.abc import Iterable, Iterator

MAX_PENDING_BYTES = 1 << 20  # bytes of lines that wait for the file: some 5,000 requests
_FLUSH_S = 1.0  # for waiting lines at the end of the process
# The writer waits this long for more lines. To wake it for each line costs the thread that logs a
# system call, and then the interpreter's lock while the line is written.
_GATHER_S = 0.02


class LogWriter(logging.Handler):
    """Write formatted records to the file descriptor `fd` from a thread of its own.

    If the file cannot be written (a full disk, a closed pipe), only lines are lost.
    """

    def __init__(self, fd: int, max_pending_bytes: int = MAX_PENDING_BYTES) -> None:
        super().__init__()
        self._fd = fd
        self._max_pending_bytes = max_pending_bytes
        self._lines: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        # Each is written by one thread at a time, so none needs a lock: `emit` runs under the
        # handler's own, `_run` in the writer's thread.
        self._accepted_bytes = self._refused_lines = 0
        self._settled_bytes = self._lost_lines = self._reported_lines = 0
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def dropped_lines(self) -> int:
        """Return the number of lines that were not written: too many waited, or writing failed."""
        return self._refused_lines + self._lost_lines

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line, or drop it when too many bytes wait already."""
        line = self._encoded(record)
        pending_bytes = self._accepted_bytes - self._settled_bytes
        if pending_bytes and pending_bytes + len(line) > self._max_pending_bytes:
            self._refused_lines += 1
            return
        self._accepted_bytes += len(line)
        self._lines.put(line)

    def flush(self, timeout_s: float = _FLUSH_S) -> None:
        """Return once the lines logged so far are written, or after `timeout_s`."""
        written = threading.Event()
        self._lines.put(written)
        self._hurry.set()
        written.wait(timeout_s)

    def _encoded(self, record: logging.LogRecord) -> bytes:
        try:
            line = self.format(record)
        except Exception as error:  # a wrong log call must not fail the request that makes it
            reason = "a log line of %s with the message %r has no form: %r"
            line = self.format(_own_record(reason, record.name, record.msg, error))
        return (line + "\n").encode("utf-8", "backslashreplace")

    # -- in the writer's thread --------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            lines, written = self._next()
            if lines:
                self._settle(lines)
            for event in written:
                event.set()

    def _next(self) -> tuple[list[bytes], list[threading.Event]]:
        """Return all waiting entries, at least one, so that one call writes many lines."""
        lines: list[bytes] = []
        written: list[threading.Event] = []
        entry = self._lines.get()
        self._hurry.wait(_GATHER_S)
        self._hurry.clear()
        while True:
            (written if isinstance(entry, threading.Event) else lines).append(entry)  # type: ignore[arg-type]
            try:
                entry = self._lines.get_nowait()
            except queue.Empty:
                return lines, written

    def _settle(self, lines: list[bytes]) -> None:
        try:
            for piece in _pieces(lines):
                self._write(piece)
            self._report_dropped()
        except OSError:
            self._lost_lines += len(lines)
        self._settled_bytes += sum(map(len, lines))

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # another process has made the shared file non-blocking
                select.select([], [self._fd], [])

    def _report_dropped(self) -> None:
        """Write how many lines were dropped since this was last written."""
        dropped = self.dropped_lines
        if count := dropped - self._reported_lines:
            message = "%d log lines were dropped: they were not read or written fast enough"
            self._write(self._encoded(_own_record(message, count)))
            self._reported_lines = dropped


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines, up to the size that a pipe takes in one piece (write(2)).

    The engines and other HTTP processes write to the same pipe: a longer piece could be mixed with
    theirs.
    """
    piece = b""
    for line in lines:
        if len(piece) + len(line) > select.PIPE_BUF and piece:
            yield piece
            piece = b""
        piece += line
    yield piece


def _own_record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord(__name__, logging.WARNING, __file__, 0, message, args, None)
