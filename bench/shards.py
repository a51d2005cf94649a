"""`python -m bench.shards`: throughput of the service by the number of its HTTP processes.

One server for each number takes its turn under the same closed loop of clients. The load comes from
processes of its own. By default all share every core; with `--load-cores` the load has the last
cores for itself and the servers have the rest. The command ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench import command
from bench.servers import load
from bench.servers.process import ServerProcess
from loadtest.server import free_port
from loadtest.workload import question

_QUESTIONS = 5_000  # different ones for each process of the load
_ONE_CORE = "1 on one core"


@dataclass(frozen=True)
class Turn:
    """One server under load for a while."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # processor time of all processes of the server, for each answer
    failed: int


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    command.exit_when_terminated()
    cores = sorted(os.sched_getaffinity(0))
    if arguments.load_cores >= len(cores):
        print(f"error: --load-cores is {arguments.load_cores} of {len(cores)}", file=sys.stderr)
        return 1
    served = cores[: len(cores) - arguments.load_cores]
    contenders = {_ONE_CORE: (1, served[:1])} if arguments.one_core else {}
    contenders |= {str(count): (count, served) for count in arguments.processes}
    figures = measured(arguments, contenders, cores[len(served) :] or cores)
    for name, turn in figures.items():
        print(f"{name}: {turn}")
    result: dict[str, Any] = {
        "machine": command.machine(),
        "commit": command.commit(),
        "command": command.typed("bench.shards", argv),
        "cores_of_servers": len(served),
        "by_processes": {name: asdict(turn) for name, turn in figures.items()},
    }
    if arguments.one_core:
        best = max(turn.per_s for turn in figures.values())
        result["times_one_core"] = round(best / figures[_ONE_CORE].per_s, 2)
    print(json.dumps(result))
    return 0


def measured(
    arguments: argparse.Namespace,
    contenders: Mapping[str, tuple[int, Sequence[int]]],
    loading: Sequence[int],
) -> Mapping[str, Turn]:
    """Return the medians of each server, given as processes and cores, over turns A B A B."""
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    with ExitStack() as running:
        servers = {}
        for name, (count, cores) in contenders.items():
            servers[name] = running.enter_context(
                _server(count, cores, arguments.log / f"{name}.log")
            )
            command.say(f"{name}: ready")
        with _bound(loading):
            pool = running.enter_context(
                ProcessPoolExecutor(arguments.load_processes, mp_context=get_context("spawn"))
            )
            for number in range(arguments.rounds):
                for name, (process, port) in servers.items():
                    turns[name].append(_turn(pool, process, port, arguments))
                    command.say(f"round {number + 1}, {name}: {turns[name][-1]}")
    return {name: _medians(of_one) for name, of_one in turns.items()}


@contextmanager
def _server(count: int, cores: Sequence[int], log: Path) -> Iterator[tuple[ServerProcess, int]]:
    """Run a server of `count` processes on `cores`, with an engine for each core."""
    port = free_port()
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "CYBERSOLVE_PROCESSES": str(count),
        "CYBERSOLVE_WORKERS": str(max(count, len(cores))),  # set, or fewer processes might start
        "CYBERSOLVE_CACHED_ANSWERS": "0",
    }
    serve = [sys.executable, "-P", "-m", "service.cli", "serve"]
    log.parent.mkdir(parents=True, exist_ok=True)
    with _bound(cores):
        process = ServerProcess(serve, settings, log)
    try:
        process.wait_ready(f"http://127.0.0.1:{port}/readyz")
        yield process, port
    finally:
        process.close()


@contextmanager
def _bound(cores: Sequence[int]) -> Iterator[None]:
    """Bind this process to `cores`, and so the processes that it starts in the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _turn(
    pool: ProcessPoolExecutor, process: ServerProcess, port: int, arguments: argparse.Namespace
) -> Turn:
    parts = arguments.load_processes
    started_s = process.cpu_s()
    asking = [
        pool.submit(_ask, port, seed, arguments.callers // parts, arguments.seconds)
        for seed in range(parts)
    ]
    found = [one.result() for one in asking]
    cpu_s = process.cpu_s() - started_s
    times_s = sorted(
        done - due
        for answers in found
        for done, due in zip(answers.done_s, answers.due_s, strict=True)
    )
    statuses = [status for answers in found for status in answers.statuses]
    return Turn(
        per_s=round(len(times_s) / arguments.seconds, 1),
        p50_ms=round(1000 * median(times_s), 2),
        p99_ms=round(1000 * times_s[int(0.99 * len(times_s))], 2),
        cpu_ms=round(1000 * cpu_s / len(times_s), 3),
        failed=sum(status != 200 for status in statuses),
    )


def _ask(port: int, seed: int, callers: int, seconds: float) -> load.Answers:
    random = Random(seed)
    asked = load.Asked([question(random) for _ in range(_QUESTIONS)])
    return load.closed_loop(port, asked, callers=callers, seconds=seconds)


def _medians(turns: Sequence[Turn]) -> Turn:
    return Turn(
        median(turn.per_s for turn in turns),
        median(turn.p50_ms for turn in turns),
        median(turn.p99_ms for turn in turns),
        median(turn.cpu_ms for turn in turns),
        sum(turn.failed for turn in turns),
    )


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.shards", __doc__)
    add = parser.add_argument
    add("--processes", type=int, nargs="+", default=[1, 2], help="numbers to compare")
    add("--one-core", action="store_true", help="also one process on one core, to compare with")
    add("--callers", type=int, default=64, help="clients at once, over all processes of the load")
    add("--seconds", type=float, default=5.0, help="of a turn")
    add("--rounds", type=int, default=3, help="turns of every server; figures are their medians")
    add("--load-processes", type=int, default=1, help="processes of the load: one sends 10,000/s")
    add("--load-cores", type=int, default=0, help="cores of the load alone; 0: it shares all")
    add("--log", type=Path, default=Path("runs/shards"), help="folder for the servers' logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
