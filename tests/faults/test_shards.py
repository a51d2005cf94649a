"""Several HTTP processes on one port: killed, stopped and drained, they are one service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest

from tests.faults.caller import Caller, NoAnswer, callers, questions
from tests.faults.server import LONG_S, Server, gone, serving, until

HANG_S = 3.0
SERVERS = {"processes": 2, "workers": 2}


async def ask(caller: Caller, seed: int, over: asyncio.Event) -> list[int]:
    """Statuses of one question after the other; a connection without an answer is -1."""
    statuses = []
    for question in questions(seed):
        if over.is_set():
            return statuses
        try:
            statuses.append((await caller.ask("/solve", {"question": question})).status)
        except NoAnswer:
            statuses.append(-1)
    raise AssertionError("questions have no end")


def counters(server: Server) -> dict[str, float]:
    """Return every series that must never fall."""
    text = httpx.get(f"{server.url}/metrics", timeout=LONG_S).text
    series = r"^(\w+(?:_total|_bucket|_sum|_count)(?:{.*})?) (\S+)$"
    return {name: float(value) for name, value in re.findall(series, text, re.MULTILINE)}


def fallen(before: dict[str, float], after: dict[str, float]) -> set[str]:
    return {name for name, value in before.items() if after.get(name, 0.0) < value}


def test_every_process_serves_the_port(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        async with callers(server.port, 10) as many:
            for caller in many:
                assert (await caller.get("/livez")).status == 200
            sockets = [
                sum(os.readlink(f"/proc/{pid}/fd/{fd}") in connections for fd in handles(pid))
                for pid in server.shards()
                for connections in [established(server.port)]
            ]
            # Equally, but for probes whose end was not yet known.
            assert sum(sockets) == 10
            assert min(sockets) >= 3

    with serving(tmp_path, **SERVERS) as server:
        asyncio.run(scenario(server))
        assert httpx.get(f"{server.url}/info").json()["processes"] == 2
        assert server.metric("http_processes") == server.metric("engines_up") == 2


def handles(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")


def established(port: int) -> set[str]:
    """Return the names of the server's sockets of established connections, as in /proc/PID/fd."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{port:04X}"
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(local) and row[3] == "01"}


def test_a_killed_process_loses_its_own_requests_alone_and_comes_back(tmp_path: Path) -> None:
    async def load(server: Server) -> tuple[list[list[int]], dict[str, float]]:
        over = asyncio.Event()
        async with callers(server.port, 16) as many:
            asking = [
                asyncio.create_task(ask(caller, seed, over)) for seed, caller in enumerate(many)
            ]
            answered = server.statuses
            await asyncio.to_thread(until, lambda: answered("/solve").get(200, 0) > 100, "a load")
            before = await asyncio.to_thread(counters, server)
            (struck, _) = server.shards()
            os.kill(struck, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: not server.ready(), "unready")
            await asyncio.to_thread(until, server.ready, "ready again")
            assert struck not in server.shards()
            over.set()
            return await asyncio.gather(*asking), before

    with serving(tmp_path, **SERVERS) as server:
        statuses, before = asyncio.run(load(server))
        lost = [one.count(-1) for one in statuses]
        # Callers of the killed process, about half, lost the request under way and no other.
        assert (min(lost), max(lost)) == (0, 1)
        assert {status for one in statuses for status in one} <= {200, -1}
        assert not fallen(before, counters(server))
        assert server.metric('http_process_ends_total{reason="crashed"}') == 1
        assert server.metric("http_processes") == server.metric("engines_up") == 2
        assert server.solve("x + 1 = 3").json()["answer"] == "2"
        assert "HTTP process 0 crashed" in server.log
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
    async def scenario(server: Server) -> Counter[int]:
        async with callers(server.port, 8) as many:
            server.signal_engines(signal.SIGSTOP)
            asking = [
                asyncio.create_task(caller.ask("/solve", {"question": question}))
                for caller, question in zip(many, questions(), strict=False)
            ]
            depth = server.metric
            await asyncio.to_thread(
                until, lambda: depth("in_flight_requests") == len(many) + 1, "all accepted"
            )
            server.process.terminate()
            await asyncio.to_thread(until, lambda: not server.ready(), "unready")
            os.kill(server.shards()[0], signal.SIGKILL)
            server.signal_engines(signal.SIGCONT)
            answers = await asyncio.gather(*asking, return_exceptions=True)
        return Counter(-1 if isinstance(one, NoAnswer) else one.status for one in answers)  # type: ignore[union-attr]

    with serving(tmp_path, **SERVERS) as server:
        answers = asyncio.run(scenario(server))
        # Whoever was connected to the other process has an answer.
        assert answers[200] + answers[-1] == answers.total() == 8
        assert answers[200]
        assert server.ended() == -signal.SIGTERM
