"""Time as the client sees it; tests give it another."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Seconds of a clock that never goes back, of the wall's, and waiting."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        """Since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Deadline:
    """The end of the time that one call has, its retries and waits among them."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._end_s = clock.monotonic_s() + timeout_s

    @property
    def left_s(self) -> float:
        return max(0.0, self._end_s - self._clock.monotonic_s())
