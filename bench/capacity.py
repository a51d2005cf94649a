"""`python -m bench.capacity`: measure what a question costs, and check the simulation.

The command times joins and steps of each number of rows and fits cost = fixed + share x rows. Then
it gives the same questions at the same times to the simulation, to the real batcher with engines
that sleep for those costs, to the batcher with real engines, and to a real server. It ends with one
line of JSON, from which docs/scaling.md is written. The load generator shares the machine. The
server does not ask for alternatives, because the others do not.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any

from bench import command, processes
from bench.costs import (
    ROWS,
    SEED,
    Line,
    core_s_each,
    engine_of,
    engine_s,
    milliseconds,
    prompt_of,
    side_by_side,
)
from bench.simulation import Arrival, Costs, Served, simulate
from bench.sleeping import Sleeping
from commandline.ranges import POSITIVE, several
from engine.contracts import Engine, Prompt
from engine.generate import generate
from equations.errors import EquationError
from loadtest import schedule, server, workload
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Host
from service.hosting.thread import ThreadHost
from service.metrics import Metrics
from service.runtime import Model, load_model
from service.settings import Settings


def main() -> None:
    parser = command.parser("bench.capacity", __doc__)
    parser.add_argument(
        "--rates", type=several(POSITIVE), default="25,50,100", help="requests/s that all are given"
    )
    parser.add_argument("--seconds", type=POSITIVE, default=10.0, help="of each rate")
    arguments = parser.parse_args()

    settings = Settings.from_environment()
    model = load_model(settings)
    load_before = os.getloadavg()[0]
    joins_s, steps_s = engine_s(engine_of(settings, model), model)
    costs = Costs(join=Line.through(joins_s), step=Line.through(steps_s))
    core_s = {rows: core_s_each(settings, model, rows) for rows in ROWS}
    per_s, side_by_side_s = side_by_side(settings, model)
    figures = {
        "machine": f"{command.machine()}, {settings.provider}",
        "commit": command.commit(),
        "model": f"{model.manifest.name} {model.manifest.version}, {model.manifest.precision}",
        "load_before": round(load_before, 1),
        "join_ms": {rows: milliseconds(seconds) for rows, seconds in joins_s.items()},
        "step_ms": {rows: milliseconds(seconds) for rows, seconds in steps_s.items()},
        "join_line_ms": str(costs.join),
        "step_line_ms": str(costs.step),
        "engine_core_ms_each": {rows: milliseconds(seconds) for rows, seconds in core_s.items()},
        "engines": len(model.hosts),
        "engines_per_s": round(per_s),
        "engines_core_ms_each": milliseconds(side_by_side_s),
        "server_core_ms_each": milliseconds(_server_core_s_each()),
        "points": [
            _compare(settings, model, costs, rate, arguments.seconds) for rate in arguments.rates
        ],
    }
    print(json.dumps(figures))


# -- the server -----------------------------------------------------------------------------------


def _server_core_s_each() -> float:
    """Return the core seconds of a whole server for each question of 32 callers, HTTP included."""
    with server.started() as (process, url), tempfile.TemporaryDirectory() as folder:
        before_s = _core_s(process.pid)
        asked = _loadtest("callers", "--url", url, "--callers", "32", "--out", folder)
        spent_s = _core_s(process.pid) - before_s
    return spent_s / float(asked["questions"])


def _core_s(pid: int) -> float:
    """Return the processor time of a process and its engines."""
    return sum(map(processes.cpu_s, processes.tree(pid)))


# -- comparison ----------------------------------------------------------------------------------


def _compare(
    settings: Settings, model: Model, costs: Costs, rate: float, seconds: float
) -> dict[str, Any]:
    """Return the mean times in ms of single questions at one rate, for each of the four."""
    trace = _trace(engine_of(settings, model), model, schedule.steps([rate], seconds))
    arrivals, single = trace.arrivals, trace.single
    limits = BatchLimits(settings.max_batch_rows, settings.max_batch_tokens)
    sleeping = [ThreadHost(Sleeping(costs, rows=limits.rows), limits) for _ in model.hosts]
    # All different, because equal ones in flight are computed once.
    slept = [
        Prompt((number,) * arrival.length, forced=(0,) * (arrival.steps - 1))
        for number, arrival in enumerate(arrivals)
    ]
    times_s = [arrival.at_s for arrival in arrivals]
    (measured,) = _measured(rate, seconds)
    return {
        "requests_per_s": rate,
        "questions_per_s": round(len(arrivals) / seconds, 1),
        "simulated": _means(simulate(arrivals, limits, costs, engines=len(sleeping)), single),
        "batcher": _means(_through_batcher(times_s, slept, limits, sleeping), single),
        "engines": _means(_through_batcher(times_s, trace.prompts, limits, model.hosts), single),
        "server": {
            "queue_ms": round(measured["queue_ms"], 2),
            "inference_ms": round(measured["inference_ms"], 2),
            "throughput": round(measured["throughput"], 1),
        },
    }


@dataclass(frozen=True)
class _Trace:
    """The questions of the load test's requests, with their arrivals."""

    arrivals: list[Arrival]
    prompts: list[Prompt]
    single: list[bool]  # not of a batch


def _trace(engine: Engine, model: Model, plan: Sequence[schedule.Step]) -> _Trace:
    due = list(schedule.at_random(plan, SEED))
    times_s, prompts, single = [], [], []
    for due_s, ask in zip(due, islice(workload.asks(SEED), len(due)), strict=True):
        alone = ask.path == workload.SOLVE
        for question in [ask.body["question"]] if alone else ask.body["questions"]:
            try:
                prompts.append(prompt_of(model, question))
            except EquationError:
                continue  # rejected before it is queued
            times_s.append(due_s)
            single.append(alone)
    written = generate(engine, prompts)
    arrivals = [
        Arrival(at_s, len(prompt.source), len(answer.best.logprobs))
        for at_s, prompt, answer in zip(times_s, prompts, written, strict=True)
    ]
    return _Trace(arrivals, prompts, single)


def _through_batcher(
    times_s: Sequence[float],
    prompts: Sequence[Prompt],
    limits: BatchLimits,
    hosts: Sequence[Host],
) -> list[Served]:
    """Send prompts to the real batcher at these times, without HTTP."""

    async def every() -> list[Served]:
        batcher = Batcher(hosts, limits, max_queue=len(prompts), observer=Metrics())
        await batcher.start()
        started_s = time.monotonic()

        async def one(at_s: float, prompt: Prompt) -> Served:
            await asyncio.sleep(started_s + at_s - time.monotonic())
            timings = (await batcher.submit(prompt, 600.0)).timings
            return Served(timings.queue_s, timings.inference_s)

        results = await asyncio.gather(*map(one, times_s, prompts))
        await batcher.drain(1.0)
        return results

    return asyncio.run(every())


def _means(results: Sequence[Served], single: Sequence[bool]) -> dict[str, float]:
    alone = [result for result, counts in zip(results, single, strict=True) if counts]
    return {
        "queue_ms": round(1000 * fmean(result.wait_s for result in alone), 2),
        "inference_ms": round(1000 * fmean(result.inference_s for result in alone), 2),
    }


def _measured(rate: float, seconds: float) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        plan = ["--rates", str(rate), "--seconds", str(seconds), "--seed", str(SEED)]
        steps: list[dict[str, Any]] = _loadtest(
            "rate", *plan, "--out", folder, environment={"CYBERSOLVE_MAX_TRIES": "1"}
        )["steps"]
        return steps


def _loadtest(*arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the summary of a load test in a process of its own, because gevent patches it."""
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-P", "-m", "loadtest", *arguments],
        env={**os.environ, "PYTHONPATH": str(command.ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


if __name__ == "__main__":
    main()
