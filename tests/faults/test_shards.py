"""Several HTTP processes on one port: killed, stopped and drained, they are one service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from tests.faults.caller import Caller, NoAnswer, callers, questions
from tests.faults.server import LONG_S, Server, gone, serving, until

HANG_S = 3.0
SERVERS = {"processes": 2, "workers": 2}


async def ask(caller: Caller, seed: int, over: asyncio.Event) -> list[int]:
    """Return the statuses of one question after the other."""
    statuses: list[int] = []
    for question in questions(seed):
        if over.is_set():
            return statuses
        statuses.append(await status(caller, question))
    raise AssertionError("questions have no end")


async def status(caller: Caller, question: str) -> int:
    """Return the status of an answer; -1 for a connection without one."""
    try:
        return (await caller.ask("/solve", {"question": question})).status
    except NoAnswer:
        return -1


def counters(server: Server) -> dict[str, float]:
    """Return every series that must never fall."""
    text = httpx.get(f"{server.url}/metrics", timeout=LONG_S).text
    series = r"^(\w+(?:_total|_bucket|_sum|_count)(?:{.*})?) (\S+)$"
    return {name: float(value) for name, value in re.findall(series, text, re.MULTILINE)}


def fallen(before: dict[str, float], after: dict[str, float]) -> set[str]:
    return {name for name, value in before.items() if after.get(name, 0.0) < value}


def test_every_process_serves_the_port(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        # A probe that the server still holds would count as a caller.
        await asyncio.to_thread(until, lambda: not connections(server.port), "no probe is left")
        async with callers(server.port, 10) as many:
            for caller in many:
                assert (await caller.get("/livez")).status == 200
            held = Counter(owners(server, many))
            assert set(held) == set(server.shards())
            # The supervisor may still count the last probe, as it is told of its end later.
            assert min(held.values()) >= 4

    with serving(tmp_path, **SERVERS) as server:
        asyncio.run(scenario(server))
        assert httpx.get(f"{server.url}/info").json()["processes"] == 2
        assert server.metric("http_processes") == server.metric("engines_up") == 2


def owners(server: Server, many: Sequence[Caller]) -> list[int]:
    """Return the HTTP process that holds the connection of each caller."""
    by_socket = {
        os.readlink(f"/proc/{pid}/fd/{handle}"): pid
        for pid in server.shards()
        for handle in os.listdir(f"/proc/{pid}/fd")
    }
    sockets = connections(server.port)
    return [by_socket[sockets[caller.local_port]] for caller in many]


def connections(port: int) -> dict[int, str]:
    """Return the server's sockets of established connections, as /proc/PID/fd names them, by the
    port of the caller.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    held = [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return {int(row[2].rpartition(":")[2], 16): f"socket:[{row[9]}]" for row in held}


def test_a_killed_process_loses_its_own_requests_alone_and_comes_back(tmp_path: Path) -> None:
    async def load(server: Server) -> tuple[list[list[int]], list[int], dict[str, float]]:
        """Return the statuses of each caller, how many each must lose, and the counters before."""
        over = asyncio.Event()
        async with callers(server.port, 16) as many:
            asking = [
                asyncio.create_task(ask(caller, seed, over)) for seed, caller in enumerate(many)
            ]
            answered = server.statuses
            await asyncio.to_thread(until, lambda: answered("/solve").get(200, 0) > 100, "a load")
            before = await asyncio.to_thread(counters, server)
            (struck, _) = server.shards()
            losses = [int(owner == struck) for owner in owners(server, many)]
            os.kill(struck, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: not server.ready(), "unready")
            await asyncio.to_thread(until, server.ready, "ready again")
            assert struck not in server.shards()
            over.set()
            return await asyncio.gather(*asking), losses, before

    with serving(tmp_path, **SERVERS) as server:
        statuses, losses, before = asyncio.run(load(server))
        # Callers of the killed process lost the request under way and no other.
        assert set(losses) == {0, 1}
        assert [one.count(-1) for one in statuses] == losses
        assert {status for one in statuses for status in one} <= {200, -1}
        assert not fallen(before, counters(server))
        assert server.metric('http_process_ends_total{reason="crashed"}') == 1
        assert server.metric("http_processes") == server.metric("engines_up") == 2
        assert server.solve("x + 1 = 3").json()["answer"] == "2"
        until(lambda: "HTTP process 0 crashed" in server.log, "a line of the log")
        assert "Traceback" not in server.log


def test_a_process_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    """While it is silent the others take all new connections."""
    with serving(tmp_path, **SERVERS, hang_timeout_s=HANG_S) as server:
        (hung, _) = server.shards()
        os.kill(hung, signal.SIGSTOP)
        until(lambda: server.metric('http_process_ends_total{reason="hung"}') == 1, "its end")
        until(server.ready, "ready again")
        assert gone(hung)
        assert server.solve("x + 1 = 3").json()["answer"] == "2"


def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with serving(tmp_path, **SERVERS) as server:
        below = [*server.shards(), *server.engines()]
        assert len(below) == 4
        os.kill(below[0], signal.SIGSTOP)
        server.process.kill()
        server.ended()
        until(lambda: all(map(gone, below)), "no process without its supervisor")


def test_a_process_that_cannot_serve_ends_the_start_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with (
        pytest.raises(AssertionError, match=r"(?m)^error: .*manifest.json"),
        serving(tmp_path, **SERVERS, model=tmp_path / "model"),
    ):
        pass


def test_a_crash_during_the_drain_does_not_hold_it_up(tmp_path: Path) -> None:
    async def scenario(server: Server) -> tuple[list[int], list[int]]:
        """Return the status of each caller, -1 without an answer, and what it must be."""
        async with callers(server.port, 8) as many:
            server.signal_engines(signal.SIGSTOP)
            asking = [
                asyncio.create_task(status(caller, question))
                for caller, question in zip(many, questions(), strict=False)
            ]
            depth = server.metric
            await asyncio.to_thread(
                until, lambda: depth("in_flight_requests") == len(many) + 1, "all accepted"
            )
            struck = server.shards()[0]
            expected = [-1 if owner == struck else 200 for owner in owners(server, many)]
            server.process.terminate()
            await asyncio.to_thread(until, lambda: not server.ready(), "unready")
            os.kill(struck, signal.SIGKILL)
            server.signal_engines(signal.SIGCONT)
            return await asyncio.gather(*asking), expected

    with serving(tmp_path, **SERVERS) as server:
        statuses, expected = asyncio.run(scenario(server))
        assert set(expected) == {200, -1}
        assert statuses == expected
        assert server.ended() == -signal.SIGTERM
