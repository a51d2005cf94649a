"""Decide when to retry. Solving has no side effects, so a retry is always safe."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Retries:
    """Exponential backoff with full jitter, added to the server's `Retry-After`.

    Clients that were rejected together must not retry together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    attempts: int = 5  # including the first; 1: no retries
    first_s: float = 0.1
    most_s: float = 5.0
    random: Callable[[], float] = random.random  # in [0, 1)

    def delay_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Return the seconds to wait after so many attempts, at least one."""
        back_off_s = min(self.most_s, self.first_s * 2.0 ** (attempt - 1))
        return (retry_after_s or 0.0) + self.random() * back_off_s


def read_retry_after(value: str | None, wall_s: float) -> float | None:
    """Return the seconds from now until the time in a header (seconds or a date), or None."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - wall_s)
    except ValueError:
        return None
