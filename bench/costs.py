"""Measure the cost of a join, a step and a whole question in one engine, without HTTP."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random
from statistics import linear_regression, median

from engine.contracts import Engine, Prompt
from engine.cpu import available_cpus
from engine.generate import generate
from engine.loading import load_engine
from equations.formats import FORMATS
from loadtest import workload
from service.runtime import Model, layout
from service.settings import Settings

ROWS = (1, 2, 4, 8, 16, 32)
SEED = 0  # as in the load test
_REPEATS = 15
_QUESTIONS = 256  # measured from end to end


def milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


@dataclass(frozen=True)
class Line:
    """A fixed cost of each call, and a cost of each row."""

    fixed_s: float
    share_s: float

    @classmethod
    def through(cls, measured_s: dict[int, float]) -> Line:
        """Fit the cost per row: a fit of whole costs would be poor for few rows."""
        each_s = [cost_s / rows for rows, cost_s in measured_s.items()]
        return cls(*linear_regression([1 / rows for rows in measured_s], each_s))

    def __call__(self, rows: int) -> float:
        return self.fixed_s + self.share_s * rows

    def __str__(self) -> str:
        return f"{milliseconds(self.fixed_s)} + {milliseconds(self.share_s)} a row"


def engine_s(engine: Engine, model: Model) -> tuple[dict[int, float], dict[int, float]]:
    """Return the median seconds of a join and of a step, by rows, with the load test's questions.

    Numbers of rows alternate, so that machine drift affects all equally.
    """
    random = Random(SEED)
    joins_s: dict[int, list[float]] = {rows: [] for rows in ROWS}
    steps_s: dict[int, list[float]] = {rows: [] for rows in ROWS}
    for _ in range(_REPEATS):
        for rows in ROWS:
            prompts = [prompt_of(model, workload.question(random)) for _ in range(rows)]
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


def core_s_each(settings: Settings, model: Model, rows: int) -> float:
    """Return the core seconds of a question from end to end, in one engine of so many rows.

    Other programs on the machine hardly change core time.
    """
    engine, prompts = engine_of(replace(settings, max_batch_rows=rows), model), prompts_of(model)
    generate(engine, prompts[:rows])
    started_s = time.process_time()
    generate(engine, prompts)
    return (time.process_time() - started_s) / len(prompts)


def engine_of(settings: Settings, model: Model) -> Engine:
    """Return an engine like that of one of the service's processes."""
    _, threads = layout(model.manifest, settings, available_cpus())
    rows, provider = settings.max_batch_rows, settings.provider
    return load_engine(settings.model, threads=threads, rows=rows, provider=provider)[0]


def side_by_side(settings: Settings, model: Model) -> tuple[float, float]:
    """Return the questions/s of all engines at once, in threads and without HTTP, and the core
    seconds of each answer.
    """
    prompts, count = prompts_of(model), len(model.hosts)
    engines = [engine_of(settings, model) for _ in range(count)]
    with ThreadPoolExecutor(count) as threads:
        wall_s, core_s = time.perf_counter(), time.process_time()
        list(threads.map(generate, engines, [prompts] * count))
        wall_s, core_s = time.perf_counter() - wall_s, time.process_time() - core_s
    return count * len(prompts) / wall_s, core_s / (count * len(prompts))


def prompts_of(model: Model) -> list[Prompt]:
    random = Random(SEED)
    return [prompt_of(model, workload.question(random)) for _ in range(_QUESTIONS)]


def prompt_of(model: Model, question: str) -> Prompt:
    return Prompt(model.codec.encode(FORMATS[model.manifest.prompt_format].encode(question)))
