"""Health under a load that takes the whole processor, and connections over the limit."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx

from loadtest.server import free_port
from tests.faults.caller import Caller, NoAnswer, callers, questions
from tests.faults.server import LONG_S, Server, serving, until

CONNECTIONS = 1500
BOUND_S = 5.0  # a second is the promise; the load's own work shares the processor here
# In a process of its own: the load below keeps this one busy.
PROBES = """
import json, sys, time, urllib.request
times = []
for path in ("/livez", "/readyz", "/metrics") * 4:
    began = time.perf_counter()
    with urllib.request.urlopen(sys.argv[1] + path, timeout=60) as answer:
        assert answer.status == 200
    times.append(time.perf_counter() - began)
print(json.dumps(times))
"""


async def load(many: list[Caller], server: Server) -> None:
    """Every connection asks again as soon as it is answered, until it is cancelled."""

    async def ask(caller: Caller, seed: int) -> None:
        for question in questions(seed):
            with suppress(NoAnswer):
                await caller.ask("/solve", {"question": question})

    await asyncio.gather(*(ask(caller, seed) for seed, caller in enumerate(many)))


def test_health_is_answered_while_every_connection_asks(tmp_path: Path) -> None:
    port = free_port()
    health = f"http://127.0.0.1:{port}"

    def answered() -> float:
        text = httpx.get(f"{health}/metrics", timeout=LONG_S).text
        counts = (line for line in text.splitlines() if line.startswith("cybersolve_requests_t"))
        return sum(float(line.split()[-1]) for line in counts if '"/solve"' in line)

    async def scenario(server: Server) -> None:
        async with callers(server.port, CONNECTIONS) as many:
            asking = asyncio.create_task(load(many, server))
            await asyncio.to_thread(until, lambda: answered() > CONNECTIONS, "a load")
            command = [sys.executable, "-P", "-c", PROBES, health]
            probes = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, check=True, timeout=LONG_S
            )
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        times = json.loads(probes.stdout)
        print(f"health with {CONNECTIONS} connections: at most {max(times):.3f} s")
        assert max(times) < BOUND_S

    with serving(tmp_path, metrics_port=port) as server:
        asyncio.run(scenario(server))


def test_connections_over_the_limit_are_refused_and_counted(tmp_path: Path) -> None:
    """Those within it go on; the log says so once a second at most."""
    with serving(tmp_path, workers=1, max_connections=20) as server:
        kept = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]
        kept[0].sendall(b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n")
        assert kept[0].recv(4096).startswith(b"HTTP/1.1 200 ")
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", server.port)) as over:
                over.settimeout(LONG_S)
                assert over.recv(4096).startswith(b"HTTP/1.1 503 ")
                assert over.recv(4096) == b""
        for connection in kept:
            connection.close()
        until(lambda: server.solve("x + 1 = 3").status_code == 200, "answers again")
        assert server.metric("refused_connections_total") >= 10
        said = "connections: there are 20"
        until(lambda: said in server.log, "a line of the log")
        assert server.log.count(said) < 10
