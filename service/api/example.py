"""An example for the API reference, and what the examples of the bundled model share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MODEL = {"name": "cybersolve-mini", "version": "2.1.0"}
TIMING_MS = {"queue": 0.152, "inference": 5.826, "total": 9.312}


@dataclass(frozen=True)
class Example:
    name: str
    summary: str
    status: int
    response: Any
    request: Any = None  # the body of a POST
    media_type: str = "application/json"  # of the response, unless it is a problem
