"""The listening sockets of the service, and the choice of the process that serves a connection."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

from service.listening import accepted_last

_LOG = logging.getLogger(__name__)
_BACKLOG = 2048  # as uvicorn
_AT_ONCE = 64  # connections accepted before other events have their turn
_NO_HANDLES_S = 1.0  # the pause after `accept` has failed


class Taker(Protocol):
    """A process that takes connections."""

    @property
    def connections(self) -> float:
        """Return how many it has, as a share of what it can serve."""
        ...

    def hand_over(self, connection: socket.socket) -> bool:
        """Return whether it takes `connection`."""
        ...


class Front:
    """Accept connections, and hand each to the one of `takers()` that has the fewest.

    While there is none, connections wait in the backlog.
    """

    def __init__(
        self, listeners: Sequence[socket.socket], takers: Callable[[], Sequence[Taker]]
    ) -> None:
        self._listeners = listeners
        self._takers = takers
        self._loop = asyncio.get_running_loop()
        self._listening = self._reading = self._closed = False

    def open(self) -> None:
        """Accept from now on, or again after there was no process to serve."""
        if self._reading or self._closed:
            return
        self._reading = True
        for listener in self._listeners:
            if not self._listening:
                listener.listen(_BACKLOG)
                _LOG.info("listening on http://%s:%d", *listener.getsockname()[:2])
            self._loop.add_reader(listener, self._accept, listener)
        self._listening = True

    def close(self) -> None:
        """Close the listeners; connections in their backlogs are handed over, not reset."""
        self._pause()
        self._closed = True
        if not self._listening:
            for listener in self._listeners:
                listener.close()
            return
        waiting = [each for listener in self._listeners for each in accepted_last(listener)]
        for connection in waiting:
            self.give(connection)
        _LOG.info("closed the listeners; %d connections waited in the backlog", len(waiting))

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            for listener in self._listeners:
                self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if not self._takers():
                self._pause()
                return
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # such as no file handle free
                _LOG.error("accepting no connection for a second: %s", error.strerror)
                self._pause()
                self._loop.call_later(_NO_HANDLES_S, self.open)
                return
            self.give(connection)

    def give(self, connection: socket.socket) -> None:
        """Hand `connection` over; reset it if no process takes it."""
        with connection:
            for taker in sorted(self._takers(), key=lambda one: one.connections):
                if taker.hand_over(connection):
                    return
            _LOG.warning("a connection is reset: no HTTP process takes it")
