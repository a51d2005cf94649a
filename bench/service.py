"""`python -m bench.service FILE`: the service on this machine, over HTTP, with a file's questions.

Starts a server of its own and measures the time until it is ready, questions one after another,
questions from 32 callers at once, and its peak memory. The client shares the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx

from bench import command

_CALLERS = 32


def main() -> None:
    parser = command.parser("bench.service", __doc__)
    parser.add_argument("file", type=Path, help="dataset file: a question and an answer in turn")
    parser.add_argument("--one-by-one", type=int, default=500, help="questions asked in a row")
    parser.add_argument("--at-once", type=int, default=4000, help="questions from 32 callers")
    arguments = parser.parse_args()
    lines = arguments.file.read_text().splitlines()
    problems = list(zip(lines[::2], lines[1::2], strict=True))

    process, url, ready_s = _start()
    try:
        _ask_in_turn(url, problems[:50])  # caches and branch predictors, not the model
        alone = sorted(_ask_in_turn(url, problems[: arguments.one_by_one]))
        crowd = problems[: arguments.at_once]
        started = time.perf_counter()
        exact = asyncio.run(_ask_at_once(url, crowd))
        per_s = len(crowd) / (time.perf_counter() - started)
        peak_kib = _peak_kib(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    figures = {
        "machine": command.machine(),
        "commit": command.commit(),
        "ready_s": round(ready_s, 2),
        "p50_ms": round(1000 * statistics.median(alone), 2),
        "p99_ms": round(1000 * alone[int(0.99 * len(alone))], 2),
        "per_s": round(per_s),
        "exact_match": round(exact / len(crowd), 4),
        "peak_memory_mb": round(peak_kib * 1024 / 1e6),
    }
    print(json.dumps(figures))


def _peak_kib(pid: int) -> int:
    """Of the server and its engines' processes; pages that they share count for each."""
    status = Path(f"/proc/{pid}/status").read_text()
    engines = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return (int(peak[1]) if peak else 0) + sum(_peak_kib(int(engine)) for engine in engines)


def _start() -> tuple[subprocess.Popen[bytes], str, float]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "service.cli", "serve"],
        env={**os.environ, "PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz").status_code == httpx.codes.OK:
                return process, url, time.perf_counter() - started
        except httpx.TransportError:
            time.sleep(0.01)
    raise SystemExit("the server did not start")


def _ask_in_turn(url: str, problems: list[tuple[str, str]]) -> list[float]:
    """Seconds that each question took."""
    times = []
    with httpx.Client(base_url=url) as client:
        for question, _ in problems:
            started = time.perf_counter()
            client.post("/solve", json={"question": question}).raise_for_status()
            times.append(time.perf_counter() - started)
    return times


async def _ask_at_once(url: str, problems: list[tuple[str, str]]) -> int:
    """How many of the answers were exact."""
    waiting = iter(problems)
    exact = 0

    async def caller(client: httpx.AsyncClient) -> None:
        nonlocal exact
        for question, answer in waiting:
            response = await client.post("/solve", json={"question": question})
            exact += response.raise_for_status().json()["answer"] == answer

    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await asyncio.gather(*(caller(client) for _ in range(_CALLERS)))
    return exact


if __name__ == "__main__":
    main()
