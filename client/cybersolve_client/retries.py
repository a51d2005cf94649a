"""When to ask again. Solving has no effect on the service, so asking twice does no harm."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Retries:
    """Exponential back-off with full jitter, on top of what `Retry-After` asks for.

    Callers that were refused together must not come back together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    attempts: int = 5  # the first among them; 1: no retries
    first_s: float = 0.1
    most_s: float = 5.0
    random: Callable[[], float] = random.random  # in [0, 1)

    def delay_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Seconds to wait after so many attempts, of which there was at least one."""
        back_off_s = min(self.most_s, self.first_s * 2.0 ** (attempt - 1))
        return (retry_after_s or 0.0) + self.random() * back_off_s


def read_retry_after(value: str | None, wall_s: float) -> float | None:
    """Seconds from now, of a header that has seconds or a date; None where it has neither."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - wall_s)
    except ValueError:
        return None
