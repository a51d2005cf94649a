"""Bodies and requests that nobody should send: each is told what is wrong, and nothing is left."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.caller import Caller, NoAnswer, callers
from tests.faults.flat import growth
from tests.faults.malformed import requests
from tests.faults.server import Server, serving, until

SHORT = 2_000
LONG = int(os.environ.get("SOAK_MALFORMED", "100000"))
AT_ONCE = 8
LOOKS = 16  # at memory, on the way
MOST_GROWTH_KIB = 4_096  # see tests.faults.flat


async def send(caller: Caller, raw: bytes, is_http: bool) -> int:
    """The status; 0 where there is none: a head that never ends, or that is no HTTP at all."""
    try:
        if is_http:
            return (await caller.send(raw)).status
        await caller.write(raw)
        assert caller.writer is not None
        caller.writer.write_eof()
        return (await caller.answer()).status
    except (NoAnswer, ConnectionError, EOFError):
        assert not is_http, raw[:200]
        return 0
    finally:
        if not is_http:
            caller.leave()


async def send_all(server: Server, count: int) -> tuple[Counter[int], list[float]]:
    statuses: Counter[int] = Counter()
    memory_kib: list[float] = []
    source = requests(seed=count)
    left = iter(range(count))

    async def one(caller: Caller) -> None:
        for number in left:
            raw, is_http = next(source)
            status = await send(caller, raw, is_http)
            assert status < 500, (status, raw[:500])
            statuses[status] += 1
            if number % (count // LOOKS) == 0:
                memory_kib.append(server.memory_kib())

    async with callers(server.port, AT_ONCE) as many:
        await asyncio.gather(*map(one, many))
    return statuses, memory_kib


@pytest.mark.parametrize(
    "count", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_malformed_requests_leave_no_traceback_and_no_growth(tmp_path: Path, count: int) -> None:
    with serving(tmp_path, workers=1) as server:
        server.solve("x + 1 = 3")
        handles = server.handles()
        statuses, memory_kib = asyncio.run(send_all(server, count))
        assert statuses[422] > count / 2, statuses
        assert statuses[413], statuses
        until(lambda: server.metric("in_flight_requests") == 1, "nothing in flight but this")
        until(lambda: server.handles() <= handles, "their sockets closed")
        assert growth(memory_kib) < MOST_GROWTH_KIB, memory_kib
        assert server.metric("queue_depth") == 0
        assert server.solve("x + 1 = 3").json()["answer"] == "2"
        assert "Traceback" not in server.log
        print(statuses, memory_kib)
