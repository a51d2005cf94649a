"""File handles held in reserve, so that an engine can be started when all others are in use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# One start needs two sockets, two pipes of `subprocess` and /dev/null. The rest is for what the
# operating system or Python may open in addition.
HANDLES = 8


class HandleReserve:
    """Hold up to `size` file handles open until they are needed; none before the first `fill`."""

    def __init__(self, size: int = HANDLES) -> None:
        self._size = size
        self._held: list[int] = []

    def fill(self) -> None:
        """Open handles up to the size, or as many as the limit of open files allows."""
        try:
            while len(self._held) < self._size:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            pass  # the next fill may find more

    @contextmanager
    def released(self) -> Iterator[None]:
        """Free the handles for the block, which must not let anything else run meanwhile."""
        self.close()
        try:
            yield
        finally:
            self.fill()

    def close(self) -> None:
        while self._held:
            os.close(self._held.pop())
