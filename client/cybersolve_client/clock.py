"""The client's clock, which tests replace."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """Monotonic time, wall-clock time and sleeping."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        """Return seconds since 1970, UTC."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Deadline:
    """The deadline of one call, which includes its retries and waits."""

    def __init__(self, clock: Clock, timeout_s: float) -> None:
        self._clock = clock
        self._end_s = clock.monotonic_s() + timeout_s

    @property
    def left_s(self) -> float:
        return max(0.0, self._end_s - self._clock.monotonic_s())
