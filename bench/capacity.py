"""`python -m bench.capacity`: what a question costs here, and whether the simulation is right.

Times joins and steps of each number of rows, fits cost = fixed + share x rows, and then gives the
very questions at the very times to the simulation, to the real batcher with engines that sleep for
those costs, to it with the real engines, and to a real server.
Ends in one line of JSON; docs/scaling.md is made of it. The load's generator shares the machine.
The server compared answers once, right or wrong, because the others do not try again.
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
from pathlib import Path
from statistics import fmean
from typing import Any

from bench import command
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
    parser.add_argument("--rates", default="25,50,100", help="requests/s that all are given")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate")
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]

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
        "points": [_compare(settings, model, costs, rate, arguments.seconds) for rate in rates],
    }
    print(json.dumps(figures))


# -- the server -----------------------------------------------------------------------------------


def _server_core_s_each() -> float:
    """Core seconds of a whole server for each question, HTTP and all, asked by 32 callers."""
    with server.started() as (process, url), tempfile.TemporaryDirectory() as folder:
        before_s = _core_s(process.pid)
        asked = _loadtest("callers", "--url", url, "--callers", "32", "--out", folder)
        spent_s = _core_s(process.pid) - before_s
    return spent_s / float(asked["questions"])


def _core_s(pid: int) -> float:
    """Seconds that a process and its engines have computed, from Linux' /proc."""
    engines = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own_s = (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
    return own_s + sum(_core_s(int(engine)) for engine in engines)


# -- comparison ----------------------------------------------------------------------------------


def _compare(
    settings: Settings, model: Model, costs: Costs, rate: float, seconds: float
) -> dict[str, Any]:
    """Single questions' mean times at one rate, in milliseconds, by each of the four."""
    trace = _trace(engine_of(settings, model), model, schedule.steps([rate], seconds))
    arrivals, single = trace.arrivals, trace.single
    limits = BatchLimits(settings.max_batch_rows, settings.max_batch_tokens)
    sleeping = [ThreadHost(Sleeping(costs, rows=limits.rows), limits) for _ in model.hosts]
    # No two alike, or they would be computed once.
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
    """The questions of the load test's requests."""

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
                continue  # refused before it is queued
            times_s.append(due_s)
            single.append(alone)
    written = generate(engine, prompts)
    arrivals = [
        Arrival(at_s, len(prompt.source), len(hypothesis.logprobs))
        for at_s, prompt, hypothesis in zip(times_s, prompts, written, strict=True)
    ]
    return _Trace(arrivals, prompts, single)


def _through_batcher(
    times_s: Sequence[float],
    prompts: Sequence[Prompt],
    limits: BatchLimits,
    hosts: Sequence[Host],
) -> list[Served]:
    """The batcher that ships, without HTTP, asked at these times."""

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
    """A load test's summary, from a process of its own: gevent patches all of it."""
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
