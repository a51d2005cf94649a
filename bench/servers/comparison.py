"""Compare servers: find their best settings, check their answers, and measure them in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from bench.comparison.candidates import Candidate, CandidateFailed
from bench.comparison.turns import Outcome, Say, Turns
from bench.processes import machine_cpu_s
from bench.servers import load
from bench.servers.candidate.setup import Setup
from bench.servers.entries import OURS, Entry
from bench.servers.figures import Cost, Figures, figures, over_rounds
from bench.servers.process import ServerProcess
from bench.servers.questions import Workload, wrong
from bench.servers.scenarios import CALLERS, MOST_CALLERS, Callers, Rate, Scenario, rates
from loadtest.server import free_port

_LEAD_S = 1.0  # of every turn, not counted
_SETTLE_S = 0.5
_CHECKING_CALLERS = 16
_TRIAL_CALLERS = (1, 8, 64)

Server: TypeAlias = Candidate[Entry, Setup, ServerProcess]


@dataclass(frozen=True)
class Durations:
    """Seconds of one turn, and of one trial of the search for settings (0: no search)."""

    turn_s: float
    trial_s: float
    rounds: int


@dataclass
class Results(Outcome):
    """The results of a run; `scenarios` by name, then by label."""

    scenarios: dict[str, dict[str, Figures]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    trials: dict[str, dict[str, float]] = field(default_factory=dict)  # settings: mean questions/s
    checked: dict[str, int] = field(default_factory=dict)  # bodies under load, all as expected
    others_share: list[float] = field(default_factory=list)  # of the cores, by turn: not the bench


class Comparison:
    """The servers of one run around the engine in `bundle`; `say` takes lines of progress."""

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
        self._turns: Turns[Server] = Turns(self.results, say=say, settle_s=_SETTLE_S)
        self._workload = workload
        self._asked = load.Asked(workload.questions)
        self._bundle = bundle
        self._folder = folder
        self._durations = durations
        self._cores = cores
        self._say = say

    def close(self) -> None:
        self._turns.close()

    # -- before the turns ------------------------------------------------------------------------

    def admit(self, entry: Entry) -> None:
        """Search for its settings, start it with the best, and check all its answers; exclude it
        where it fails.
        """
        with self._turns.admission(entry.label):
            server = self._start(entry, self._search(entry))
            self._turns.add(server)
            self._check(server)
            self.results.settings[entry.label] = entry.shown(server.setup)

    def _search(self, entry: Entry) -> Setup:
        """Return the best setup that varying one knob after another finds."""
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
        """Return the geometric mean of questions/s with few and many callers; 0 where answers
        fail.
        """
        server = self._start(entry, setup)
        try:
            found = [
                self._measure(server, Callers(callers), self._durations.trial_s)
                for callers in _TRIAL_CALLERS
            ]
        finally:
            server.process.close()
        failed = any(one.failed or not one.per_s for one in found)
        per_s = 0.0 if failed else statistics.geometric_mean(one.per_s for one in found)
        shown = entry.shown(setup)
        self.results.trials.setdefault(entry.label, {})[shown] = round(per_s, 1)
        self._say(f"trial: {entry.label} ({shown}): {per_s:.1f} questions/s")
        return per_s

    def _start(self, entry: Entry, setup: Setup) -> Server:
        setup = replace(setup, port=free_port())
        log = self._folder / f"{entry.label}.log"
        process = ServerProcess(entry.command(), entry.environment(setup), log)
        try:
            process.wait_ready(f"http://127.0.0.1:{setup.port}{entry.ready}")
        except BaseException:  # an interrupt too: nothing else would end it
            process.close()
            raise
        return Candidate(entry, setup, process)

    def _check(self, server: Server) -> None:
        """Raise `CandidateFailed` where any answer differs from the expected one."""
        questions = self._workload.questions
        found = load.once(server.setup.port, load.Asked(questions), callers=_CHECKING_CALLERS)
        faults = wrong(self._workload, found.bodies)
        if len(found.bodies) < len(questions):
            faults.append(f"{len(found.bodies)} answers to {len(questions)} questions")
        if set(found.statuses) != {200}:
            faults.append(f"statuses {sorted(set(found.statuses))}")
        if faults:
            raise CandidateFailed(f"{len(faults)} faults, first {faults[0]}")

    # -- the turns -------------------------------------------------------------------------------

    def run(self, callers: Sequence[int] = CALLERS, per_s: Sequence[float] = ()) -> None:
        """Run closed loops, then open ones at the rates `per_s`, by default shares of our own."""
        for count in callers:
            self._run(Callers(count))
        ours = self.results.scenarios.get(Callers(MOST_CALLERS).name, {}).get(OURS)
        open_loops = [Rate(one) for one in per_s] or (rates(ours.per_s) if ours else [])
        for scenario in open_loops:
            self._run(scenario)

    def _run(self, scenario: Scenario) -> None:
        found = self._turns.take(
            scenario.name,
            self._durations.rounds,
            self._turns.candidates,
            lambda server: self._measure(server, scenario, self._durations.turn_s),
        )
        self.results.scenarios[scenario.name] = {
            label: over_rounds(rounds) for label, rounds in found.items()
        }

    def _measure(self, server: Server, scenario: Scenario, seconds: float) -> Figures:
        """Return the figures of one turn. Raises `CandidateFailed` on a wrong body."""
        port, process = server.setup.port, server.process
        end_s = _LEAD_S + seconds
        server_s, all_s = process.cpu_s(), machine_cpu_s()
        started_s = time.monotonic()
        if isinstance(scenario, Callers):
            answers = load.closed_loop(port, self._asked, callers=scenario.callers, seconds=end_s)
        else:
            answers = load.open_loop(port, self._asked, scenario.due_s(end_s))
        wall_s = time.monotonic() - started_s
        cost = Cost(process.cpu_s() - server_s, answers.cpu_s, process.memory_mb())
        others_s = machine_cpu_s() - all_s - cost.server_s - cost.generator_s
        self.results.others_share.append(max(0.0, others_s / wall_s / self._cores))
        self._judge(server, answers)
        return figures(answers, cost, lead_s=_LEAD_S, end_s=end_s)

    def _judge(self, server: Server, answers: load.Answers) -> None:
        label = server.label
        if faults := wrong(self._workload, answers.bodies):
            raise CandidateFailed(f"{label}: {len(faults)} wrong answers, first {faults[0]}")
        self.results.checked[label] = self.results.checked.get(label, 0) + len(answers.bodies)
