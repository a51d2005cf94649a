"""An engine that echoes, for tests of everything around an engine: row i answers source i."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from service.contracts import Generation, Phases, Tokens


class EchoEngine:
    """Answers each source with itself.

    `before` runs at the start of every batch, in the worker's thread: tests block or raise there.
    """

    def __init__(self, before: Callable[[Sequence[Tokens]], None] | None = None) -> None:
        self._before = before
        self._busy = threading.Lock()
        self.batches: list[list[Tokens]] = []

    def generate(self, sources: Sequence[Tokens]) -> Generation:
        if not self._busy.acquire(blocking=False):
            raise AssertionError("two batches at once: an engine has one worker")
        try:
            self.batches.append(list(sources))
            if self._before is not None:
                self._before(sources)
            return Generation([list(source) for source in sources], Phases(0.0, 0.0))
        finally:
            self._busy.release()
