"""Refuse connections before the process runs out of file handles.

At the limit `accept` fails, and the event loop spins or writes a traceback for every attempt. Nor
could an engine start, or the file of keys or /proc be read.
"""

from __future__ import annotations

import asyncio
import logging
import resource

_LOG = logging.getLogger(__name__)
SPARE_HANDLES = 32  # handles that connections leave free
_LOG_EVERY_S = 1.0


def few_handles_left(transport: asyncio.BaseTransport) -> bool:
    """Return whether the connection of `transport` took one of the last handles.

    The operating system assigns the lowest free number, so a number close to the limit means that
    hardly any lower one is free.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return False
    number: int = transport.get_extra_info("socket").fileno()
    return number >= limit - SPARE_HANDLES


class RefusedConnections:
    """Count connections refused for one reason, and log them at most once a second."""

    def __init__(self) -> None:
        self._refused = 0
        self._logged_s = -_LOG_EVERY_S

    def count(self, now_s: float, reason: str) -> None:
        self._refused += 1
        if now_s - self._logged_s >= _LOG_EVERY_S:
            _LOG.error("refused %d connections: %s", self._refused, reason)
            self._refused, self._logged_s = 0, now_s
