"""Loads every contender, checks its answers, finds its best layouts, and lets them take turns.

Only one process is at work at a time; the others wait for their input.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.engines.entries import Entry, Layout
from bench.engines.figures import Figures, figures, over_rounds
from bench.engines.machine import Sgemm, sgemm
from bench.engines.process import ContenderFailed, ContenderProcess
from bench.engines.scenarios import SATURATED, Batches, Scenario, poisson, turns
from bench.engines.workloads import Workload

_SEED = 11
_SETTLE_S = 0.5  # OpenMP's threads spin for 0.2 s after their work: the next turn waits that out
_SINGLES = 20
_RECHECKED = 64  # questions
_TRIAL_QUESTIONS = 128  # of a stream, to find an engine's best layout

Say = Callable[[str], None]


@dataclass(frozen=True)
class Contender:
    """One engine with one layout, loaded."""

    entry: Entry
    layout: Layout
    process: ContenderProcess


@dataclass(frozen=True)
class Result:
    """One scenario for one engine; `share` is its useful arithmetic by what all cores could do."""

    layout: Layout
    figures: Figures
    share: float


@dataclass
class Results:
    """Of one workload."""

    scenarios: dict[str, dict[str, Result]] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)  # share of answers equal to PyTorch's
    excluded: dict[str, str] = field(default_factory=dict)  # label: why
    versions: dict[str, str] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)  # arrivals/s of the streams
    sgemm: list[Sgemm] = field(default_factory=list)
    idle_share: float = 0.0  # most processor time of all that waited, by the time of the turn


class Contest:
    """The engines of one workload. `rate_per_s` fixes the arrivals of streams; None: a share of the
    saturated rate of the engine labelled `ours`.
    """

    def __init__(
        self,
        workload: Workload,
        folder: Path,
        *,
        ours: str,
        rate_per_s: float | None,
        say: Say,
        peak: Callable[[], Sgemm] = sgemm,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self.results = Results()
        self._workload = workload
        self._folder = folder
        self._ours = ours
        self._rate_per_s = rate_per_s
        self._say = say
        self._peak = peak
        self._settle_s = settle_s
        self._contenders: list[Contender] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._questions = folder / "questions.json"
        content = {"sources": workload.sources, "max_new_tokens": workload.max_new_tokens}
        self._questions.write_text(json.dumps(content))

    def close(self) -> None:
        for contender in self._contenders:
            contender.process.close()

    # -- before the turns ------------------------------------------------------------------------

    def admit(self, entry: Entry) -> None:
        """Load the engine with each layout and check its answers; who fails is excluded."""
        admitted: list[Contender] = []
        try:
            for layout in entry.layouts:
                log = self._folder / f"{entry.label}-{layout}.log"
                contender = Contender(entry, layout, ContenderProcess(entry.python, log))
                admitted.append(contender)
                self._prepare(contender)
                # Other layouts run the same code; a few questions show that they work.
                self._check(contender, None if len(admitted) == 1 else _RECHECKED)
        except ContenderFailed as error:
            self._say(f"{self._workload.name}: {entry.label}: {error}")
            self.results.excluded[entry.label] = str(error)
            for contender in admitted:
                contender.process.close()
        else:
            self._contenders += admitted

    def _prepare(self, contender: Contender) -> None:
        workload = self._workload
        task = {
            "engine": contender.entry.engine,
            "workers": contender.layout.workers,
            "threads": contender.layout.threads,
            "checkpoint": str(workload.checkpoint.absolute()),
            "plain": str(workload.plain.absolute()),
            "bundles": {name: str(path.absolute()) for name, path in workload.bundles.items()},
            "cache": str(workload.plain.parent.absolute()),
            "questions": str(self._questions.absolute()),
        }
        reply = contender.process.ask(**{**task, **contender.entry.options})
        self.results.versions[contender.entry.label] = reply["versions"]

    def _check(self, contender: Contender, count: int | None) -> None:
        """Raises `ContenderFailed` where fp32 answers are not PyTorch's."""
        rows = contender.process.ask(do="answer", count=count)["rows"]
        answers = self._workload.answers[:count]
        same = sum(row == answer for row, answer in zip(rows, answers, strict=True))
        if count is None:
            self.results.agreement[contender.entry.label] = same / len(answers)
        if contender.entry.exact and same < len(answers):
            raise ContenderFailed(f"answers {len(answers) - same} of {len(answers)} differently")

    # -- the turns -------------------------------------------------------------------------------

    def run(self, scenario: Scenario, rounds: int) -> None:
        """Every engine at its best layout, `rounds` times in turn."""
        rate_per_s = self._arrival_rate(scenario)
        waits = isinstance(scenario, Batches) or scenario.load is None
        if rate_per_s is None and not waits:
            self._say(f"{scenario.name} left out: it needs {SATURATED} of ours, or a --rate")
            return
        self.results.sgemm.append(self._peak())
        chosen = self._best(scenario, rate_per_s)
        found: dict[str, list[Figures]] = {contender.entry.label: [] for contender in chosen}
        for number, contender in turns(rounds, chosen):
            one = self._turn(contender, scenario, rate_per_s)
            found[contender.entry.label].append(one)
            self._say(
                f"{self._workload.name}/{scenario.name} round {number + 1} of {rounds}: "
                f"{contender.entry.label} {contender.layout} {one.per_s:.1f}/s"
            )
        self._record(scenario, chosen, found)

    def _arrival_rate(self, scenario: Scenario) -> float | None:
        if isinstance(scenario, Batches) or scenario.load is None:
            return None
        rate_per_s = self._rate_per_s
        saturated = self.results.scenarios.get(SATURATED, {}).get(self._ours)
        if rate_per_s is None and saturated is not None:
            rate_per_s = scenario.load * saturated.figures.per_s
        if rate_per_s is not None:
            self.results.rates[scenario.name] = rate_per_s
        return rate_per_s

    def _best(self, scenario: Scenario, rate_per_s: float | None) -> list[Contender]:
        """Each engine with the layout that does best in a short trial of the scenario."""
        best: dict[str, tuple[float, Contender]] = {}
        for contender in self._contenders:
            label, cost = contender.entry.label, 0.0
            if len(contender.entry.layouts) > 1:
                trial = self._turn(contender, _trial(scenario), rate_per_s)
                cost = -trial.per_s if rate_per_s is None else trial.p99_ms
            if label not in best or cost < best[label][0]:
                best[label] = cost, contender
        return [contender for _, contender in best.values()]

    def _turn(self, contender: Contender, scenario: Scenario, rate_per_s: float | None) -> Figures:
        time.sleep(self._settle_s)
        idle = [c.process for c in self._contenders if c is not contender]
        started, before_s = time.perf_counter(), sum(process.cpu_s() for process in idle)
        one = _measure(contender.process, scenario, rate_per_s)
        idle_s = sum(process.cpu_s() for process in idle) - before_s
        share = idle_s / (time.perf_counter() - started)
        self.results.idle_share = max(self.results.idle_share, share)
        return one

    def _record(
        self, scenario: Scenario, chosen: list[Contender], found: dict[str, list[Figures]]
    ) -> None:
        peak = statistics.median(one.all_cores for one in self.results.sgemm)
        useful = self._workload.flops(scenario.questions)
        results = self.results.scenarios[scenario.name] = {}
        for contender in chosen:
            median = over_rounds(found[contender.entry.label])
            share = median.per_s * useful / peak
            results[contender.entry.label] = Result(contender.layout, median, share)


def _measure(process: ContenderProcess, scenario: Scenario, rate_per_s: float | None) -> Figures:
    if isinstance(scenario, Batches):
        reply = process.ask(do="batches", size=scenario.size, calls=scenario.calls)
        times = reply["latencies_s"]
        return figures(times, scenario.questions, sum(times))
    if scenario.load is None or rate_per_s is None:
        arrivals, singles = [0.0] * scenario.questions, 0
    else:
        arrivals, singles = poisson(rate_per_s, scenario.questions, _SEED), _SINGLES
    reply = process.ask(do="stream", arrivals_s=arrivals, singles=singles)
    times = reply["latencies_s"]
    wall_s = max(arrival + latency for arrival, latency in zip(arrivals, times, strict=True))
    alone_s = statistics.median(reply["alone_s"]) if singles else None
    return figures(times, scenario.questions, wall_s, alone_s)


def _trial(scenario: Scenario) -> Scenario:
    if isinstance(scenario, Batches):
        return replace(scenario, calls=max(2, scenario.calls // 4))
    return replace(scenario, questions=min(scenario.questions, _TRIAL_QUESTIONS))
