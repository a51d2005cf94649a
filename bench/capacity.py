"""`python -m bench.capacity`: what a question costs here, and whether the simulation is right.

Times joins and steps of each number of rows, fits cost = fixed + share x rows, and then gives the
very questions at the very times to the simulation, to the real batcher with engines that sleep for
those costs, to it with the real engines, and to a real server.
Ends in one line of JSON; docs/scaling.md is made of it. The load's generator shares the machine.
The server compared answers once, right or wrong, because the others do not try again.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean, linear_regression, median
from typing import Any

from bench.simulation import Arrival, Costs, Served, simulate
from bench.sleeping import Sleeping
from equations.errors import EquationError
from equations.parser import parse
from equations.prompt import PROMPT_FORMATS
from loadtest import schedule, server, workload
from service.batching.batcher import Batcher
from service.batching.policy import BatchLimits
from service.contracts import Engine, Prompt
from service.engine.generate import generate
from service.metrics import Metrics
from service.runtime import Model, load_model
from service.settings import Settings

_ROWS = (1, 2, 4, 8, 16, 32)
_REPEATS = 15
_QUESTIONS = 256  # whose cost from end to end is measured
_SEED = 0  # the load test's own


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure costs; check the simulation.")
    parser.add_argument("--rates", default="25,50,100", help="requests/s that all are given")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each rate (default: 10)")
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]

    settings = Settings.from_environment()
    model = load_model(settings)
    load_before = os.getloadavg()[0]
    joins_s, steps_s = _engine_s(model)
    costs = Costs(join=Line.through(joins_s), step=Line.through(steps_s))
    core_s = {rows: _core_s_each(settings, rows) for rows in _ROWS}
    per_s, side_by_side_s = _side_by_side(model)
    figures = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {model.provider}",
        "model": f"{model.manifest.name} {model.manifest.version}, {model.manifest.precision}",
        "load_before": round(load_before, 1),
        "join_ms": {rows: _ms(seconds) for rows, seconds in joins_s.items()},
        "step_ms": {rows: _ms(seconds) for rows, seconds in steps_s.items()},
        "join_line_ms": str(costs.join),
        "step_line_ms": str(costs.step),
        "engine_core_ms_each": {rows: _ms(seconds) for rows, seconds in core_s.items()},
        "engines": len(model.engines),
        "engines_per_s": round(per_s),
        "engines_core_ms_each": _ms(side_by_side_s),
        "server_core_ms_each": _ms(_server_core_s_each()),
        "points": [_compare(settings, model, costs, rate, arguments.seconds) for rate in rates],
    }
    print(json.dumps(figures))


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


# -- costs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A cost that is the same for every call, and one for each row."""

    fixed_s: float
    share_s: float

    @classmethod
    def through(cls, measured_s: dict[int, float]) -> Line:
        """By what a row costs: through the whole costs, few rows would be fitted badly."""
        each_s = [cost_s / rows for rows, cost_s in measured_s.items()]
        return cls(*linear_regression([1 / rows for rows in measured_s], each_s))

    def __call__(self, rows: int) -> float:
        return self.fixed_s + self.share_s * rows

    def __str__(self) -> str:
        return f"{_ms(self.fixed_s)} + {_ms(self.share_s)} a row"


def _engine_s(model: Model) -> tuple[dict[int, float], dict[int, float]]:
    """Median seconds of a join and of a step, by rows, of the load test's questions.

    Numbers of rows take turns, so that a machine that drifts does so under all.
    """
    random, engine = Random(_SEED), model.engines[0]
    joins_s: dict[int, list[float]] = {rows: [] for rows in _ROWS}
    steps_s: dict[int, list[float]] = {rows: [] for rows in _ROWS}
    for _ in range(_REPEATS):
        for rows in _ROWS:
            prompts = [_prompt(model, workload.question(random)) for _ in range(rows)]
            started_s = time.perf_counter()
            engine.join(dict(enumerate(prompts)))
            joins_s[rows].append(time.perf_counter() - started_s)
            while engine.active == rows:
                started_s = time.perf_counter()
                engine.step()
                steps_s[rows].append(time.perf_counter() - started_s)
            engine.clear()
    return (
        {rows: median(times_s) for rows, times_s in joins_s.items()},
        {rows: median(times_s) for rows, times_s in steps_s.items()},
    )


def _core_s_each(settings: Settings, rows: int) -> float:
    """Core seconds of a question from end to end, in one engine that has so many rows.

    Core time is what neighbours on the machine hardly change.
    """
    model = load_model(replace(settings, max_batch_rows=rows))
    prompts = _prompts(model)
    generate(model.engines[0], prompts[:rows])
    started_s = time.process_time()
    generate(model.engines[0], prompts)
    return (time.process_time() - started_s) / len(prompts)


def _side_by_side(model: Model) -> tuple[float, float]:
    """What all engines at once answer a second, without HTTP, and core seconds of each answer."""
    prompts, count = _prompts(model), len(model.engines)
    with ThreadPoolExecutor(count) as threads:
        wall_s, core_s = time.perf_counter(), time.process_time()
        list(threads.map(generate, model.engines, [prompts] * count))
        wall_s, core_s = time.perf_counter() - wall_s, time.process_time() - core_s
    return count * len(prompts) / wall_s, core_s / (count * len(prompts))


def _server_core_s_each() -> float:
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


def _prompts(model: Model) -> list[Prompt]:
    random = Random(_SEED)
    return [_prompt(model, workload.question(random)) for _ in range(_QUESTIONS)]


def _prompt(model: Model, question: str) -> Prompt:
    equation = parse(question).with_integers()
    return Prompt(model.codec.encode(PROMPT_FORMATS[model.manifest.prompt_format](equation)))


# -- comparison ----------------------------------------------------------------------------------


def _compare(
    settings: Settings, model: Model, costs: Costs, rate: float, seconds: float
) -> dict[str, Any]:
    """Single questions' mean times at one rate, in milliseconds, by each of the four."""
    trace = _trace(model, schedule.steps([rate], seconds))
    arrivals, single = trace.arrivals, trace.single
    limits = BatchLimits(settings.max_batch_rows, settings.max_batch_tokens)
    sleeping = [Sleeping(costs, rows=limits.rows) for _ in model.engines]
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
        "engines": _means(_through_batcher(times_s, trace.prompts, limits, model.engines), single),
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


def _trace(model: Model, plan: Sequence[schedule.Step]) -> _Trace:
    due = list(schedule.at_random(plan, _SEED))
    times_s, prompts, single = [], [], []
    for due_s, ask in zip(due, islice(workload.asks(_SEED), len(due)), strict=True):
        alone = ask.path == workload.SOLVE
        for question in [ask.body["question"]] if alone else ask.body["questions"]:
            try:
                prompts.append(_prompt(model, question))
            except EquationError:
                continue  # refused before it is queued
            times_s.append(due_s)
            single.append(alone)
    written = generate(model.engines[0], prompts)
    arrivals = [
        Arrival(at_s, len(prompt.source), len(hypothesis.logprobs))
        for at_s, prompt, hypothesis in zip(times_s, prompts, written, strict=True)
    ]
    return _Trace(arrivals, prompts, single)


def _through_batcher(
    times_s: Sequence[float],
    prompts: Sequence[Prompt],
    limits: BatchLimits,
    engines: Sequence[Engine],
) -> list[Served]:
    """The batcher that ships, without HTTP, asked at these times."""

    async def every() -> list[Served]:
        batcher = Batcher(engines, limits, max_queue=len(prompts), observer=Metrics())
        batcher.start()
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
        plan = ["--rates", str(rate), "--seconds", str(seconds), "--seed", str(_SEED)]
        steps: list[dict[str, Any]] = _loadtest(
            "rate", *plan, "--out", folder, environment={"CYBERSOLVE_MAX_TRIES": "1"}
        )["steps"]
        return steps


def _loadtest(*arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A load test's summary, from a process of its own: gevent patches all of it."""
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "loadtest", *arguments],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


if __name__ == "__main__":
    main()
