"""Format the service's log lines, for people or as one JSON object a line.

A thread writes the lines to stderr (`service.log_writer`). A line's own fields are passed as
`extra={"fields": {...}}`. uvicorn's lines are formatted alike, because its loggers have no
handlers of their own.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TextIO

from service.log_writer import LogWriter

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


def configure_logging(style: str, *, stream: TextIO | None = None) -> None:
    """Format all logging of the process as `text` or `json`.

    Lines go to stderr without blocking the caller, or at once to `stream`.
    """
    handler = logging.StreamHandler(stream) if stream else _stderr()
    handler.setFormatter(JsonLines() if style == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    # No line shows these values, and to collect them is a quarter of a line's cost (see
    # "Optimization" in Python's logging HOWTO).
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _stderr() -> logging.Handler:
    if sys.stderr is None:  # closed at the start: its number may belong to another file by now
        return logging.NullHandler()
    return LogWriter(sys.stderr.fileno())


def flush_log() -> None:
    """Wait until the logged lines are written, for a second at most."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def dropped_lines() -> int:
    """Return the number of log lines of this process that were not written."""
    handlers = logging.getLogger().handlers
    return sum(each.dropped_lines for each in handlers if isinstance(each, LogWriter))


class TextLines(logging.Formatter):
    """`INFO service.requests: POST /solve 200 request_id=... duration_ms=6.9`"""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        fields = _fields(record)
        shown = "".join([f" {name}={_shown(value)}" for name, value in fields.items()])
        return super().formatMessage(record) + shown


def _shown(value: object) -> str:
    """Return `value` as JSON. Numbers take a shortcut, because the encoder is slow for them."""
    return repr(value) if type(value) in (int, float) else _encode(value)


class JsonLines(logging.Formatter):
    """`{"time":"2026-11-24T22:45:25.123Z","level":"INFO",...}`, a traceback in `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line)


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return fields


def _rfc3339(created_s: float) -> str:
    """Return a time in UTC, to the millisecond."""
    return f"{_to_the_second(int(created_s))}.{int(created_s % 1 * 1000):03d}Z"


@lru_cache(maxsize=1)
def _to_the_second(created_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created_s))
