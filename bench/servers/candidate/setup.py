"""Pass a candidate's settings as JSON in one environment variable."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "BENCH_SERVERS_SETUP"


@dataclass(frozen=True)
class Setup:
    """Port, bundle and batching of a candidate."""

    bundle: str  # a folder
    port: int
    workers: int  # processes with an engine each
    rows: int  # that an engine decodes at once
    max_batch: int
    wait_s: float = 0.0  # LitServe: for a batch to fill
    fast_queue: bool = False  # LitServe: ZeroMQ for the answers
    http_processes: int = 1  # LitServe
    max_latency_ms: int = 60_000  # BentoML: at which the wait of its batches aims

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> Setup:
        return cls(**json.loads(os.environ[VARIABLE]))
