"""Finds each server's best settings, checks its answers, and lets the servers take turns.

All are up at once; one is asked at a time, and the report says what the others used meanwhile.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.engines.scenarios import turns
from bench.servers import load
from bench.servers.candidate.setup import Setup
from bench.servers.entries import OURS, Entry
from bench.servers.figures import Cost, Figures, figures, over_rounds
from bench.servers.machine import busy_s
from bench.servers.process import ServerFailed, ServerProcess
from bench.servers.questions import Workload, wrong
from bench.servers.scenarios import CALLERS, MOST_CALLERS, Callers, Rate, Scenario, rates

_LEAD_S = 1.0  # of every turn, not counted
_SETTLE_S = 0.5
_CHECKING_CALLERS = 16
_TRIAL_CALLERS = (1, 8, 64)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Candidate:
    """One server that is up."""

    entry: Entry
    setup: Setup
    process: ServerProcess


@dataclass(frozen=True)
class Durations:
    """Seconds of one turn, and of one trial of the search for settings (none: no search)."""

    turn_s: float
    trial_s: float
    rounds: int


@dataclass
class Results:
    """`scenarios` by name, then by label."""

    scenarios: dict[str, dict[str, Figures]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    trials: dict[str, dict[str, float]] = field(default_factory=dict)  # settings: mean questions/s
    excluded: dict[str, str] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)  # bodies under load, all as expected
    others_share: list[float] = field(default_factory=list)  # of the cores, by turn: not the bench
    waiting_share: list[float] = field(default_factory=list)  # of a core: servers not asked


class Comparison:
    """The servers of one run around the engine in `bundle`; `say` is told what happens."""

    def __init__(
        self,
        workload: Workload,
        bundle: Path,
        folder: Path,
        durations: Durations,
        *,
        cores: int,
        say: Say,
    ) -> None:
        self.results = Results()
        self._workload = workload
        self._asked = load.Asked(workload.questions)
        self._bundle = bundle
        self._folder = folder
        self._durations = durations
        self._cores = cores
        self._say = say
        self._candidates: list[Candidate] = []

    def close(self) -> None:
        for candidate in self._candidates:
            candidate.process.close()

    # -- before the turns ------------------------------------------------------------------------

    def admit(self, entry: Entry) -> None:
        """Search its settings, start it with the best, and check all its answers."""
        try:
            candidate = self._start(entry, self._search(entry))
        except (ServerFailed, load.LoadError) as error:
            self._exclude(entry, str(error))
            return
        self._candidates.append(candidate)  # before the check: `close` ends it whatever comes
        try:
            self._check(candidate)
        except (ServerFailed, load.LoadError) as error:
            self._candidates.remove(candidate)
            candidate.process.close()
            self._exclude(entry, str(error))
        else:
            self.results.settings[entry.label] = entry.shown(candidate.setup)

    def _exclude(self, entry: Entry, reason: str) -> None:
        self._say(f"{entry.label} is left out: {reason}")
        self.results.excluded[entry.label] = reason

    def _search(self, entry: Entry) -> Setup:
        """The best setting of one knob after the other."""
        best = entry.first(self._bundle, self._cores)
        if not entry.knobs or not self._durations.trial_s:
            return best
        best_per_s = self._try(entry, best)
        for knob in entry.knobs:
            for setup in entry.others(knob, best):
                per_s = self._try(entry, setup)
                if per_s > best_per_s:
                    best, best_per_s = setup, per_s
        return best

    def _try(self, entry: Entry, setup: Setup) -> float:
        """The geometric mean of what it gives to few and many callers; 0 where answers fail."""
        candidate = self._start(entry, setup)
        try:
            found = []
            for callers in _TRIAL_CALLERS:
                scenario = Callers(callers)
                found.append(self._measure(candidate, scenario, self._durations.trial_s))
        finally:
            candidate.process.close()
        failed = any(one.failed or not one.per_s for one in found)
        per_s = 0.0 if failed else statistics.geometric_mean(one.per_s for one in found)
        shown = entry.shown(setup)
        self.results.trials.setdefault(entry.label, {})[shown] = round(per_s, 1)
        self._say(f"trial: {entry.label} ({shown}): {per_s:.1f} questions/s")
        return per_s

    def _start(self, entry: Entry, setup: Setup) -> Candidate:
        setup = replace(setup, port=free_port())
        log = self._folder / f"{entry.label}.log"
        process = ServerProcess(entry.command(), entry.environment(setup), log)
        try:
            process.wait_ready(f"http://127.0.0.1:{setup.port}{entry.ready}")
        except BaseException:  # interrupted too: nothing else knows of it yet
            process.close()
            raise
        return Candidate(entry, setup, process)

    def _check(self, candidate: Candidate) -> None:
        """Raises `ServerFailed` where any question is not answered as it must be."""
        questions = self._workload.questions
        found = load.once(candidate.setup.port, questions, callers=_CHECKING_CALLERS)
        faults = wrong(self._workload, found.bodies)
        if len(found.bodies) < len(questions):
            faults.append(f"{len(found.bodies)} answers to {len(questions)} questions")
        if set(found.statuses) != {200}:
            faults.append(f"statuses {sorted(set(found.statuses))}")
        if faults:
            raise ServerFailed(f"{len(faults)} faults, first {faults[0]}")

    # -- the turns -------------------------------------------------------------------------------

    def run(self, callers: Sequence[int] = CALLERS, per_s: Sequence[float] = ()) -> None:
        """Closed loops, then open ones at the rates `per_s`, or else at shares of our own."""
        for count in callers:
            self._turns(Callers(count))
        ours = self.results.scenarios.get(Callers(MOST_CALLERS).name, {}).get(OURS)
        open_loops = [Rate(one) for one in per_s] or (rates(ours.per_s) if ours else [])
        for scenario in open_loops:
            self._turns(scenario)

    def _turns(self, scenario: Scenario) -> None:
        found: dict[str, list[Figures]] = {}
        for _, candidate in turns(self._durations.rounds, self._candidates):
            time.sleep(_SETTLE_S)
            waiting = [one for one in self._candidates if one is not candidate]
            before_s, started_s = sum(one.process.cpu_s() for one in waiting), time.monotonic()
            one = self._measure(candidate, scenario, self._durations.turn_s)
            waited_s = sum(one.process.cpu_s() for one in waiting) - before_s
            self.results.waiting_share.append(waited_s / (time.monotonic() - started_s))
            label = candidate.entry.label
            found.setdefault(label, []).append(one)
            self._say(f"{scenario.name}: {label}: {one.per_s:.1f}/s, p99 {one.p99_ms:.1f} ms")
        self.results.scenarios[scenario.name] = {
            label: over_rounds(one) for label, one in found.items()
        }

    def _measure(self, candidate: Candidate, scenario: Scenario, seconds: float) -> Figures:
        """One turn. Raises `ServerFailed` on a body that is not what it must be."""
        port, process = candidate.setup.port, candidate.process
        end_s = _LEAD_S + seconds
        server_s, all_s = process.cpu_s(), busy_s()
        started_s = time.monotonic()
        if isinstance(scenario, Callers):
            answers = load.closed_loop(port, self._asked, callers=scenario.callers, seconds=end_s)
        else:
            answers = load.open_loop(port, self._asked, scenario.due_s(end_s))
        wall_s = time.monotonic() - started_s
        cost = Cost(process.cpu_s() - server_s, answers.cpu_s, process.memory_mb())
        others_s = busy_s() - all_s - cost.server_s - cost.generator_s
        self.results.others_share.append(max(0.0, others_s / wall_s / self._cores))
        self._judge(candidate, answers)
        return figures(answers, cost, lead_s=_LEAD_S, end_s=end_s)

    def _judge(self, candidate: Candidate, answers: load.Answers) -> None:
        label = candidate.entry.label
        if faults := wrong(self._workload, answers.bodies):
            raise ServerFailed(f"{label}: {len(faults)} wrong answers, first {faults[0]}")
        self.results.checked[label] = self.results.checked.get(label, 0) + len(answers.bodies)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
