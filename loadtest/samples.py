"""One sample for each request, and their CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

TOO_MANY = 429
NO_ANSWER = 0  # in place of a status: refused connection, time-out


@dataclass(frozen=True)
class Sample:
    """One request. Times in seconds from the start of the run; parts in milliseconds.

    The parts come from the service's headers; `None` where it sent none.
    """

    path: str
    questions: int
    due_s: float
    sent_s: float
    done_s: float
    status: int
    expected: int
    queue_ms: float | None = None
    inference_ms: float | None = None
    total_ms: float | None = None

    @property
    def latency_ms(self) -> float:
        """Return the latency since the request was due; it includes the generator's delay."""
        return 1000 * (self.done_s - self.due_s)

    @property
    def ok(self) -> bool:
        return self.status == self.expected


def write(path: Path, samples: Iterable[Sample]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Sample)] + ["latency_ms"])
        writer.writeheader()
        for sample in samples:
            times = {
                name: round(getattr(sample, name), 6) for name in ("due_s", "sent_s", "done_s")
            }
            latency = {"latency_ms": round(sample.latency_ms, 3)}
            writer.writerow(asdict(sample) | times | latency)
