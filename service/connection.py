"""Tell what the server knows of a connection beside ASGI, in the `state` of a request's scope.

ASGI tells both by messages. To wait for them costs a request a timer and a task.
"""

from __future__ import annotations

from collections.abc import Callable

CONNECTION = "connection"  # key in the state: the `Connection` that the request came over
BODY_ARRIVED = "body_arrived"  # key in the state: True once all of the body has arrived


class Connection:
    """The connection of a client; `listen` makes the server read it, which shows its loss."""

    def __init__(self, listen: Callable[[], None]) -> None:
        self._listen = listen
        self._callbacks: set[Callable[[], None]] = set()
        self.lost = False

    def add(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the connection is lost, unless it is removed before."""
        self._callbacks.add(callback)
        self._listen()

    def remove(self, callback: Callable[[], None]) -> None:
        self._callbacks.discard(callback)

    def lose(self) -> None:
        """Call the callbacks; the server calls this once."""
        self.lost = True
        for callback in tuple(self._callbacks):
            callback()
