"""Time calls until they are known well enough. Pure but for the clock."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

_WARM_UPS = 2  # a compiled step is compiled in the first call and captured in the second
_LEAST_CALLS, _MOST_CALLS = 3, 50
_ENOUGH_S = 1.0


def timed(
    call: Callable[[], object], questions: int, *, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median and least milliseconds of `call`, and its questions a second.

    Two calls warm up. Those that are timed take a second together, or are three.
    """
    for _ in range(_WARM_UPS):
        call()
    times: list[float] = []
    while len(times) < _LEAST_CALLS or (sum(times) < _ENOUGH_S and len(times) < _MOST_CALLS):
        started = clock()
        call()
        times.append(clock() - started)
    median_s = statistics.median(times)
    return {
        "ms": round(1e3 * median_s, 3),
        "least_ms": round(1e3 * min(times), 3),
        "per_s": round(questions / median_s, 1),
        "calls": len(times),
    }
