"""Loads every candidate, checks its answers, finds its best layouts, and lets them take turns.

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
from bench.engines.process import CandidateFailed, EngineProcess
from bench.engines.scenarios import SATURATED, Batches, Scenario, poisson, turns
from bench.engines.workloads import Workload

_SEED = 11
_SETTLE_S = 0.5  # OpenMP's threads spin for 0.2 s after their work: the next turn waits that out
_SINGLES = 20
_RECHECKED = 64  # questions
_TRIAL_QUESTIONS = 128  # of a stream, to find an engine's best layout

Say = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """One engine with one layout, loaded."""

    entry: Entry
    layout: Layout
    process: EngineProcess


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


class Comparison:
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
        self._candidates: list[Candidate] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._questions = folder / "questions.json"
        content = {"sources": workload.sources, "max_new_tokens": workload.max_new_tokens}
        self._questions.write_text(json.dumps(content))

    def close(self) -> None:
        for candidate in self._candidates:
            candidate.process.close()

    # -- before the turns ------------------------------------------------------------------------

    def admit(self, entry: Entry) -> None:
        """Load the engine with each layout and check its answers; who fails is excluded."""
        admitted: list[Candidate] = []
        try:
            for layout in entry.layouts:
                log = self._folder / f"{entry.label}-{layout}.log"
                candidate = Candidate(entry, layout, EngineProcess(entry.python, log))
                admitted.append(candidate)
                self._prepare(candidate)
                # Other layouts run the same code; a few questions show that they work.
                self._check(candidate, None if len(admitted) == 1 else _RECHECKED)
        except CandidateFailed as error:
            self._say(f"{self._workload.name}: {entry.label}: {error}")
            self.results.excluded[entry.label] = str(error)
            for candidate in admitted:
                candidate.process.close()
        else:
            self._candidates += admitted

    def _prepare(self, candidate: Candidate) -> None:
        workload = self._workload
        task = {
            "engine": candidate.entry.engine,
            "workers": candidate.layout.workers,
            "threads": candidate.layout.threads,
            "checkpoint": str(workload.checkpoint.absolute()),
            "plain": str(workload.plain.absolute()),
            "bundles": {name: str(path.absolute()) for name, path in workload.bundles.items()},
            "cache": str(workload.plain.parent.absolute()),
            "questions": str(self._questions.absolute()),
        }
        reply = candidate.process.ask(**{**task, **candidate.entry.options})
        self.results.versions[candidate.entry.label] = reply["versions"]

    def _check(self, candidate: Candidate, count: int | None) -> None:
        """Raises `CandidateFailed` where fp32 answers are not PyTorch's."""
        rows = candidate.process.ask(do="answer", count=count)["rows"]
        answers = self._workload.answers[:count]
        same = sum(row == answer for row, answer in zip(rows, answers, strict=True))
        if count is None:
            self.results.agreement[candidate.entry.label] = same / len(answers)
        if candidate.entry.exact and same < len(answers):
            raise CandidateFailed(f"answers {len(answers) - same} of {len(answers)} differently")

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
        found: dict[str, list[Figures]] = {candidate.entry.label: [] for candidate in chosen}
        for number, candidate in turns(rounds, chosen):
            one = self._turn(candidate, scenario, rate_per_s)
            found[candidate.entry.label].append(one)
            self._say(
                f"{self._workload.name}/{scenario.name} round {number + 1} of {rounds}: "
                f"{candidate.entry.label} {candidate.layout} {one.per_s:.1f}/s"
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

    def _best(self, scenario: Scenario, rate_per_s: float | None) -> list[Candidate]:
        """Each engine with the layout that does best in a short trial of the scenario."""
        best: dict[str, tuple[float, Candidate]] = {}
        for candidate in self._candidates:
            label, cost = candidate.entry.label, 0.0
            if len(candidate.entry.layouts) > 1:
                trial = self._turn(candidate, _trial(scenario), rate_per_s)
                cost = -trial.per_s if rate_per_s is None else trial.p99_ms
            if label not in best or cost < best[label][0]:
                best[label] = cost, candidate
        return [candidate for _, candidate in best.values()]

    def _turn(self, candidate: Candidate, scenario: Scenario, rate_per_s: float | None) -> Figures:
        time.sleep(self._settle_s)
        idle = [c.process for c in self._candidates if c is not candidate]
        started, before_s = time.perf_counter(), sum(process.cpu_s() for process in idle)
        one = _measure(candidate.process, scenario, rate_per_s)
        idle_s = sum(process.cpu_s() for process in idle) - before_s
        share = idle_s / (time.perf_counter() - started)
        self.results.idle_share = max(self.results.idle_share, share)
        return one

    def _record(
        self, scenario: Scenario, chosen: list[Candidate], found: dict[str, list[Figures]]
    ) -> None:
        peak = statistics.median(one.all_cores for one in self.results.sgemm)
        useful = self._workload.flops(scenario.questions)
        results = self.results.scenarios[scenario.name] = {}
        for candidate in chosen:
            median = over_rounds(found[candidate.entry.label])
            share = median.per_s * useful / peak
            results[candidate.entry.label] = Result(candidate.layout, median, share)


def _measure(process: EngineProcess, scenario: Scenario, rate_per_s: float | None) -> Figures:
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
