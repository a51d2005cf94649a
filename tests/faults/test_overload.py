"""More than the service can answer: it answers as much as before, in time, and refuses the rest."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import uvloop

from tests.faults.open_loop import Pool, Step, at_rate, closed
from tests.faults.server import Server, serving
from tests.faults.slow_model import slow_bundle

ROWS = 4
LONG_S = float(os.environ.get("SOAK_OVERLOAD_S", "30"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow_bundle(tmp_path_factory.mktemp("slow"))


async def loads(server: Server, multiples: list[float], seconds: float) -> list[Step]:
    pool = Pool(server.port)
    sustained = await closed(pool, 2 * ROWS, max(2.0, seconds / 3))
    steps = [await at_rate(pool, times * sustained.goodput, seconds) for times in multiples]
    pool.leave()
    print("\nrate/s | goodput/s | refused | missed | p50 ms | p99 ms")
    for step in [sustained, *steps]:
        print(step.row())
    return [sustained, *steps]


def test_overload_is_refused_and_what_is_accepted_keeps_its_deadline(tmp_path: Path) -> None:
    """Bounds wide enough for a busy machine; a service that collapses answers next to nothing.

    One row at a time makes the bundled model slow enough.
    """
    with serving(tmp_path, workers=1, max_batch_rows=1, max_tries=1) as server:
        sustained, over = asyncio.run(loads(server, [5.0], 3.0))
        assert set(over.statuses) <= {200, 429, 504}, over.statuses
        assert over.statuses[429]
        assert over.goodput > 0.3 * sustained.goodput
        assert over.missed < 0.6
        assert server.solve("x + 1 = 3").status_code == 200
        assert "Traceback" not in server.log


@pytest.mark.soak
def test_goodput_at_ten_times_the_sustainable_load(tmp_path: Path, slow: Path) -> None:
    with serving(tmp_path, model=slow, workers=1, max_batch_rows=ROWS, max_tries=1) as server:
        multiples = [0.5, 1.0, 2.0, 5.0, 10.0]
        steps = uvloop.run(loads(server, multiples, LONG_S))  # it shares the engine's cores
        peak = max(step.goodput for step in steps)
        assert steps[-1].goodput >= 0.9 * peak
        assert max(step.missed for step in steps) < 0.01
