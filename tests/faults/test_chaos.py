"""Random faults of every kind under a mixed load: every request is settled once, and the service
recovers from each round of faults.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from loadtest.server import free_port
from tests.faults.caller import callers
from tests.faults.chaos import MAX_QUEUE, RECEIVE_TIMEOUT_S, SERIES, Chaos, LogReader
from tests.faults.server import LONG_S, Server, gone, serving, until

LONG = float(os.environ.get("SOAK_CHAOS_S", "600"))
SEED = int(os.environ.get("SOAK_SEED", random.randrange(1_000_000)))
CALLERS = 8
HANG_S = 1.0
RECOVERY_S = 5.0
HEALTH_S = 5.0  # a second is the promise; the callers share the processor here


async def rounds(chaos: Chaos, seconds: float) -> list[float]:
    """Return the recovery time of each round; one round at least."""
    end_s = time.monotonic() + seconds
    recovery_s: list[float] = []
    async with callers(chaos.server.port, CALLERS) as many, asyncio.TaskGroup() as running:
        for caller in many:
            running.create_task(chaos.load(caller))
        running.create_task(chaos.probe())
        while not recovery_s or time.monotonic() < end_s:
            recovery_s.append(await chaos.round())
        chaos.over = True
    return recovery_s


@pytest.mark.parametrize(
    ("seconds", "bound_s"),
    [
        pytest.param(0.0, LONG_S, id="short"),  # other tests share the processor
        pytest.param(LONG, RECOVERY_S, marks=pytest.mark.soak, id="long"),
    ],
)
def test_the_service_recovers_from_random_faults_under_load(
    tmp_path: Path, seconds: float, bound_s: float
) -> None:
    print(f"SOAK_SEED={SEED}")
    log_file, health_port = tmp_path / "log", free_port()
    reader, writer = os.pipe()
    log = LogReader(reader, log_file)
    with serving(
        tmp_path,
        writer,
        hang_timeout_s=HANG_S,
        log_questions=1,
        max_queue=MAX_QUEUE,
        metrics_port=health_port,
        receive_timeout_s=RECEIVE_TIMEOUT_S,
        workers=2,
    ) as server:
        health = Server(server.process, health_port, log_file)
        handles = server.handles()
        chaos = Chaos(server, health, log, SEED)
        recovery_s = asyncio.run(rounds(chaos, seconds))
        print(chaos.ledger, chaos.longest_health_s, recovery_s)
        until(lambda: health.metric("in_flight_requests") == 1, "nothing in flight but this")
        until(lambda: server.handles() <= handles, "all sockets closed")
        until(lambda: all(map(gone, chaos.struck)), "no engine left as a zombie")
        assert health.metric("queue_depth") == 0
        assert health.metric("log_lines_dropped_total") > 0
        check_counts(chaos, health)
        assert max(recovery_s) < bound_s, recovery_s
        assert chaos.longest_health_s < HEALTH_S
    assert "Traceback" not in health.log


def check_counts(chaos: Chaos, health: Server) -> None:
    """Compare the service's count of each route with what callers got: each request once."""
    for route, series in SERIES.items():
        counted = Counter(health.statuses(series))
        counted.subtract(chaos.ledger.answered[route])
        # The rest is of callers that disconnected, some answered before that was noticed.
        assert min(counted.values()) >= 0, (route, counted)
        assert counted.total() <= chaos.ledger.disconnected[route], (route, counted)
