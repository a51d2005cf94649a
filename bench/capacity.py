"""`python -m bench.capacity`: what a question costs here, and whether the simulation is right.

Times the engine on batches of each size, fits cost = fixed + share x rows, and then gives the very
questions at the very times to the simulation, to the real batcher with an engine of that cost, and
to a real server.
Ends in one line of JSON; docs/scaling.md is made of it. The load's generator shares the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean, linear_regression, median
from typing import Any

from bench.simulation import Arrival, Cost, Served, simulate
from equations.errors import EquationError
from equations.parser import parse
from equations.prompt import PROMPT_FORMATS
from loadtest import schedule, server, workload
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Generation, Phases, Tokens
from service.metrics import Metrics
from service.runtime import Model, load_model
from service.settings import Settings

_ROWS = (1, 2, 4, 8, 16, 32)
_REPEATS = 15
_SEED = 0  # the load test's own


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure costs; check the simulation.")
    parser.add_argument("--rates", default="10,25,40", help="requests/s that both are given")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate (default: 15)")
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]

    settings = Settings()
    model = load_model(settings)
    timed = {rows: _batch_s(model, rows) for rows in _ROWS}
    costs_s = {rows: wall_s for rows, (wall_s, _) in timed.items()}
    share_s, fixed_s = linear_regression(list(costs_s), list(costs_s.values()))
    limits = BatchLimits(settings.max_batch_rows, settings.max_batch_tokens)
    points = [
        _compare(model, limits, lambda batch: fixed_s + share_s * len(batch), rate, arguments)
        for rate in rates
    ]
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {model.provider}",
        "load_before": round(os.getloadavg()[0], 1),
        "batch_ms": {rows: round(1000 * wall_s, 2) for rows, wall_s in costs_s.items()},
        "engine_core_ms_each": {rows: _ms(cpu_s / rows) for rows, (_, cpu_s) in timed.items()},
        "server_core_ms_each": _ms(_core_s_each()),
        "fixed_ms": round(1000 * fixed_s, 2),
        "share_ms": round(1000 * share_s, 2),
        "points": points,
    }
    print(json.dumps(figures))


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)


def _batch_s(model: Model, rows: int) -> tuple[float, float]:
    """Median seconds, by the clock and of cores, of a batch of the load test's questions.

    Of the two, core time is the one that neighbours on the machine hardly change.
    """
    random = Random(_SEED)
    walls_s, cores_s = [], []
    for _ in range(_REPEATS):
        sources = [_source(model, workload.question(random)) for _ in range(rows)]
        wall_s, core_s = time.perf_counter(), time.process_time()
        model.engine.generate(sources)
        walls_s.append(time.perf_counter() - wall_s)
        cores_s.append(time.process_time() - core_s)
    return median(walls_s), median(cores_s)


def _core_s_each() -> float:
    """Core seconds of a whole server for each question, HTTP and all, asked by 32 callers."""
    with server.started() as (process, url), tempfile.TemporaryDirectory() as folder:
        before_s = _core_s(process.pid)
        asked = _loadtest("callers", "--url", url, "--callers", "32", "--out", folder)
        spent_s = _core_s(process.pid) - before_s
    return spent_s / float(asked["questions"])


def _core_s(pid: int) -> float:
    """Seconds that a process has computed, from Linux' /proc."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _source(model: Model, question: str) -> list[int]:
    equation = parse(question).with_integers()
    return model.codec.encode(PROMPT_FORMATS[model.manifest.prompt_format](equation))


def _compare(
    model: Model, limits: BatchLimits, cost: Cost, rate: float, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Single questions' mean times at one rate, in milliseconds: simulated, in the real batcher
    with an engine that sleeps for the cost, and in a real server.
    """
    plan = schedule.steps([rate], arguments.seconds)
    arrivals, single = _trace(model, plan)
    simulated = [
        result
        for result, alone in zip(simulate(arrivals, limits, cost), single, strict=True)
        if alone
    ]
    batched = asyncio.run(_through_batcher(arrivals, limits, cost))
    (measured,) = _measured(rate, arguments.seconds)["steps"]
    return {
        "requests_per_s": rate,
        "questions_per_s": round(len(arrivals) / arguments.seconds, 1),
        "simulated": _means(simulated),
        "batcher": _means([result for result, alone in zip(batched, single, strict=True) if alone]),
        "server": {
            "queue_ms": round(measured["queue_ms"], 1),
            "inference_ms": round(measured["inference_ms"], 1),
            "throughput": round(measured["throughput"], 1),
        },
    }


def _trace(model: Model, plan: Sequence[schedule.Step]) -> tuple[list[Arrival], list[bool]]:
    """The questions of the load test's requests, and whether each was asked alone."""
    due = list(schedule.at_random(plan, _SEED))
    arrivals, single = [], []
    for due_s, ask in zip(due, islice(workload.asks(_SEED), len(due)), strict=True):
        alone = ask.path == workload.SOLVE
        for question in [ask.body["question"]] if alone else ask.body["questions"]:
            try:
                arrivals.append(Arrival(due_s, len(_source(model, question))))
            except EquationError:
                continue  # refused before it is queued
            single.append(alone)
    return arrivals, single


async def _through_batcher(
    arrivals: Sequence[Arrival], limits: BatchLimits, cost: Cost
) -> list[Served]:
    """The batcher that ships, at the arrivals' own times. Who shares a batch is not told."""
    batcher = Batcher(Sleeping(cost), limits, max_queue=len(arrivals), observer=Metrics())
    batcher.start()
    started_s = time.monotonic()

    async def one(arrival: Arrival) -> Served:
        await asyncio.sleep(started_s + arrival.at_s - time.monotonic())
        timings = (await batcher.submit([0] * arrival.length, 600.0)).timings
        return Served(timings.queue_s, timings.inference_s, rows=0)

    results = await asyncio.gather(*map(one, arrivals))
    await batcher.drain(1.0)
    return results


class Sleeping:
    """An engine of known cost that takes no core."""

    def __init__(self, cost: Cost) -> None:
        self._cost = cost

    def generate(self, sources: Sequence[Tokens]) -> Generation:
        seconds = self._cost([len(source) for source in sources])
        time.sleep(seconds)
        return Generation([[] for _ in sources], Phases(0.0, seconds))


def _means(results: Sequence[Served]) -> dict[str, float]:
    return {
        "queue_ms": round(1000 * fmean(result.wait_s for result in results), 1),
        "inference_ms": round(1000 * fmean(result.inference_s for result in results), 1),
    }


def _measured(rate: float, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        seconds_each = ["--seconds", str(seconds), "--seed", str(_SEED), "--out", folder]
        return _loadtest("rate", "--rates", str(rate), *seconds_each)


def _loadtest(*arguments: str) -> dict[str, Any]:
    """A load test's summary, from a process of its own: gevent patches all of it."""
    command = [sys.executable, "-m", "loadtest", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


if __name__ == "__main__":
    main()
