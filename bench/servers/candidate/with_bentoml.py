"""The engine in BentoML: `bentoml serve bench.servers.candidate.with_bentoml:Solving`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import bentoml
from pydantic import BeforeValidator

from bench.servers.candidate.answering import Answering
from bench.servers.candidate.setup import Setup

_SETUP = Setup.from_environment()
# A batchable API takes a list of any length from each client. The load sends single questions: a
# second service in front to put each in a list would cost another process and another hop.
_Questions = Annotated[list[str], BeforeValidator(lambda q: [q] if isinstance(q, str) else q)]


@bentoml.service(
    name="solving",
    workers=_SETUP.workers,
    http={"host": "127.0.0.1", "port": _SETUP.port},
    logging={"access": {"enabled": False}},
)
class Solving:
    """`POST /solve`; each worker has an engine, and batches the requests that reach it."""

    def __init__(self) -> None:
        self._answering = Answering(Path(_SETUP.bundle), rows=_SETUP.rows)

    @bentoml.api(  # type: ignore[untyped-decorator]  # not installed in our own environment
        route="/solve",
        batchable=True,
        max_batch_size=_SETUP.max_batch,
        max_latency_ms=_SETUP.max_latency_ms,
    )
    def solve(self, question: _Questions) -> list[dict[str, Any]]:
        return self._answering.answer(question)
