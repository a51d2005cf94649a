"""`python -m bench.service FILE`: measure the service over HTTP with the questions of a file.

The command starts a server and measures the time until it is ready, questions one after another,
questions from 32 callers at once, and peak memory. The client shares the machine's cores.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from pathlib import Path

import httpx

from bench import command
from bench.processes import status_kib, tree
from commandline.ranges import COUNT
from loadtest.server import started
from service.settings import Settings

_CALLERS = 32


def main() -> None:
    parser = command.parser("bench.service", __doc__)
    parser.add_argument("file", type=Path, help="dataset file: a question and an answer in turn")
    parser.add_argument("--one-by-one", type=COUNT, default=500, help="questions asked in a row")
    parser.add_argument("--at-once", type=COUNT, default=4000, help="questions from 32 callers")
    arguments = parser.parse_args()
    lines = arguments.file.read_text().splitlines()
    problems = list(zip(lines[::2], lines[1::2], strict=True))

    launched_s = time.perf_counter()
    with started(Settings().cached_answers) as (process, url):
        ready_s = time.perf_counter() - launched_s
        _ask_in_turn(url, problems[:50])  # warms caches and branch predictors
        alone = sorted(_ask_in_turn(url, problems[: arguments.one_by_one]))
        crowd = problems[: arguments.at_once]
        started_s = time.perf_counter()
        exact = asyncio.run(_ask_at_once(url, crowd))
        per_s = len(crowd) / (time.perf_counter() - started_s)
        # Pages that processes share count for each of them.
        peak_kib = sum(status_kib(pid, "VmHWM") for pid in tree(process.pid))
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


def _ask_in_turn(url: str, problems: list[tuple[str, str]]) -> list[float]:
    """Return the seconds that each question took."""
    times = []
    with httpx.Client(base_url=url) as client:
        for question, _ in problems:
            started = time.perf_counter()
            client.post("/solve", json={"question": question}).raise_for_status()
            times.append(time.perf_counter() - started)
    return times


async def _ask_at_once(url: str, problems: list[tuple[str, str]]) -> int:
    """Return how many of the answers were exact."""
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
