"""Compare engines on one workload: load them, check their answers, find their best layouts, and
measure them in turns.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import TypeAlias

from bench.comparison.candidates import Candidate, CandidateFailed
from bench.comparison.figures import medians
from bench.comparison.turns import Outcome, Say, Turns
from bench.engines.entries import Entry, Layout
from bench.engines.figures import Figures, figures
from bench.engines.machine import Sgemm, sgemm
from bench.engines.process import EngineProcess
from bench.engines.scenarios import SATURATED, Batches, Scenario, poisson
from bench.engines.workloads import Workload

_SEED = 11
_SETTLE_S = 0.5  # OpenMP's threads spin for 0.2 s after their work: the next turn waits that out
_SINGLES = 20
_RECHECKED = 64  # questions
# An engine in int8 must write at least this share of an answer's tokens before its first wrong one.
# Random weights leave 5% of a long text and half of a short one, sums that overflow leave nothing.
_LEAST_AGREEMENT = 0.02
# To find an engine's best layout. A single trial chose a slower one at times.
_TRIALS = 3
_TRIAL_QUESTIONS = 128  # of a stream

Engine: TypeAlias = Candidate[Entry, Layout, EngineProcess]


@dataclass(frozen=True)
class Result:
    """One scenario for one engine; `share` is its useful FLOP/s divided by the measured fp32 GEMM
    throughput of all cores.
    """

    layout: Layout
    figures: Figures
    share: float


@dataclass
class Results(Outcome):
    """The results of one workload."""

    scenarios: dict[str, dict[str, Result]] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)  # share of answers equal to PyTorch's
    versions: dict[str, str] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)  # arrivals/s of the streams
    sgemm: list[Sgemm] = field(default_factory=list)


class Comparison:
    """The engines of one workload.

    Streams arrive at `rate_per_s`, or by default at a share of the saturated throughput of the
    engine labelled `ours`.
    """

    def __init__(
        self,
        workload: Workload,
        folder: Path,
        *,
        ours: str,
        rate_per_s: float | None,
        beams: int = 1,
        say: Say,
        peak: Callable[[], Sgemm] = sgemm,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self.results = Results()
        self._turns: Turns[Engine] = Turns(self.results, say=say, settle_s=settle_s)
        self._workload = workload
        self._folder = folder
        self._ours = ours
        self._rate_per_s = rate_per_s
        self._beams = beams
        self._say = say
        self._peak = peak
        folder.mkdir(parents=True, exist_ok=True)
        self._questions = folder / "questions.json"
        content = {"sources": workload.sources, "max_new_tokens": workload.max_new_tokens}
        self._questions.write_text(json.dumps(content))

    def close(self) -> None:
        self._turns.close()

    # -- before the turns ------------------------------------------------------------------------

    def admit(self, entry: Entry) -> None:
        """Load the engine with each layout and check its answers; exclude it where it fails."""
        with self._turns.admission(entry.label):
            for number, layout in enumerate(entry.layouts):
                log = self._folder / f"{entry.label}-{layout}.log"
                engine = Candidate(entry, layout, EngineProcess(entry.python, log))
                self._turns.add(engine)
                self._prepare(engine)
                # A few questions first: an engine that writes nonsense never ends a text.
                self._check(engine, _RECHECKED)
                if number == 0:  # other layouts run the same code
                    self._check(engine, None)

    def _prepare(self, engine: Engine) -> None:
        workload = self._workload
        task = {
            "engine": engine.entry.engine,
            "workers": engine.setup.workers,
            "threads": engine.setup.threads,
            "checkpoint": str(workload.checkpoint.absolute()),
            "plain": str(workload.plain.absolute()),
            "bundles": {name: str(path.absolute()) for name, path in workload.bundles.items()},
            "cache": str(workload.plain.parent.absolute()),
            "questions": str(self._questions.absolute()),
            "beams": self._beams,
        }
        reply = engine.process.ask(**{**task, **engine.entry.options})
        self.results.versions[engine.label] = reply["versions"]

    def _check(self, engine: Engine, count: int | None) -> None:
        """Compare the answers to the first `count` questions, or to all, with PyTorch's.

        Raises `CandidateFailed` where an exact engine differs, or any engine nearly at once.
        """
        if self._beams > 1:
            return
        rows = engine.process.ask(do="answer", count=count)["rows"]
        answers = self._workload.answers[:count]
        same = sum(row == answer for row, answer in zip(rows, answers, strict=True))
        if count is None:
            self.results.agreement[engine.label] = same / len(answers)
        if engine.entry.exact and same < len(answers):
            raise CandidateFailed(f"answers {len(answers) - same} of {len(answers)} differently")
        shared = statistics.fmean(map(_shared, rows, answers))
        if shared < _LEAST_AGREEMENT:
            raise CandidateFailed(
                f"writes only {100 * shared:.1f}% of the tokens before another than PyTorch's"
            )

    # -- the turns -------------------------------------------------------------------------------

    def run(self, scenario: Scenario, rounds: int) -> None:
        """Measure every engine at its best layout, `rounds` times in turn."""
        rate_per_s = self._arrival_rate(scenario)
        closed = isinstance(scenario, Batches) or scenario.load is None
        if rate_per_s is None and not closed:
            self._say(f"{scenario.name} left out: it needs {SATURATED} of ours, or a --rate")
            return
        self.results.sgemm.append(self._peak())
        chosen = self._best(scenario, rate_per_s)
        found = self._turns.take(
            f"{self._workload.name}/{scenario.name}",
            rounds,
            chosen,
            lambda engine: _measure(engine, scenario, rate_per_s),
        )
        peak = statistics.median(one.all_cores for one in self.results.sgemm)
        useful = self._workload.flops(scenario.questions)
        results = self.results.scenarios[scenario.name] = {}
        for engine in chosen:
            one = medians(found[engine.label])
            results[engine.label] = Result(engine.setup, one, one.per_s * useful / peak)

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

    def _best(self, scenario: Scenario, rate_per_s: float | None) -> list[Engine]:
        """Return each engine with the layout that is best in short trials of the scenario."""
        trial = _trial(scenario)
        return self._turns.best(
            _TRIALS,
            lambda tried: _measure(tried, trial, rate_per_s),
            lambda one: -one.per_s if rate_per_s is None else one.p99_ms,
        )


def _measure(engine: Engine, scenario: Scenario, rate_per_s: float | None) -> Figures:
    process = engine.process
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
        return replace(scenario, calls=max(1, scenario.calls // 4))
    return replace(scenario, questions=min(scenario.questions, _TRIAL_QUESTIONS))


def _shared(row: Sequence[int], answer: Sequence[int]) -> float:
    """Return the share of the answer's tokens with which the row begins."""
    if not answer:
        return float(not row)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(row, answer, strict=False))
    return sum(1 for _ in same) / len(answer)
