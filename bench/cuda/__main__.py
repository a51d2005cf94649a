"""`python -m bench.cuda`: compare our engine on a GPU with PyTorch, CTranslate2 and optimum.

Within `--seconds` the work is done in the order of its worth: for each model the answers of every
engine beside PyTorch's in fp32, the operators and attention kernels of our variants, and times.
Each engine is a process with a time limit. `--out` has all results so far at any time; the last
line of standard output is the report in one line. `--device cpu --shapes tiny` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench import command
from bench.command import ROOT, say
from bench.cuda import attention, plan
from bench.cuda.machine import SECONDS, can_use
from bench.cuda.models import REAL, SHAPES, USUAL
from bench.cuda.plan import PARITY, TRACE, Case, Step
from bench.cuda.preparation import Preparation
from bench.cuda.processes import Processes, StepFailed
from bench.cuda.report import Report, tables
from commandline.ranges import number
from engine.kernels import CHOICES

_RESERVE_S = 5.0  # for the end
_BASELINES = ("ctranslate2", "optimum")
# Our variants of the decoder's step on each device, those that this checkout has.
_KERNELS = {"cuda": ("none", "cuda", "cuda-graphs"), "cpu": ("auto", "none")}


def main(argv: list[str] | None = None) -> int:
    command.exit_when_terminated()
    arguments = _parser().parse_args(argv)
    if not can_use(arguments.device):
        return 1
    kernels = [name for name in _KERNELS[arguments.device] if name in CHOICES]
    engines = plan.engines(arguments.device, kernels)
    known = [engine.label for engine in engines]
    unknown = [label for label in arguments.engines or [] if label not in known]
    if unknown:
        raise SystemExit(f"error: --engines {unknown[0]!r}; expected one of {', '.join(known)}")
    asked = arguments.engines or [engine.label for engine in engines if engine.usual]
    chosen = [engine for engine in engines if engine.label in asked]
    steps = plan.steps(arguments.shapes, chosen, {REAL})
    return _Comparison(arguments, steps, argv).run()


class _Comparison:
    """The steps of one run, its report and its deadline."""

    def __init__(
        self, arguments: argparse.Namespace, steps: Sequence[Step], argv: list[str] | None
    ) -> None:
        self._arguments = arguments
        self._steps = steps
        self._deadline: float = time.monotonic() + arguments.seconds - _RESERVE_S
        self._cases: Sequence[Case] = plan.SMALL_CASES if arguments.small else plan.CASES
        self._cache: Path = arguments.cache.resolve()
        self._cache.mkdir(parents=True, exist_ok=True)
        self._processes = Processes(self._cache)
        self._report = Report(
            arguments.out,
            command=command.typed("bench.cuda", argv),
            commit=command.commit(),
            machine=command.machine(),
        )

    def run(self) -> int:
        """Return 0 if every step was done."""
        python = self._arguments.baselines_python
        preparation = Preparation(self._steps, self._processes, self._cache, python)
        ended: list[tuple[Step, str]] = []
        try:
            for step in self._steps:
                if plan.none_of_ours_ran(ended, step):
                    say("stopped: none of our variants ran")
                    break
                status = self._take(step, preparation)
                ended.append((step, status))
                self._report.content["prepared_s"] = preparation.seconds
                self._report.end(step, status, self._processes.log(_name(step)))
                say(f"{step.shape}, {step.engine.label}, {step.work}: {status}")
            self._report.content["finished"] = len(ended) == len(self._steps)
        finally:
            self._processes.close()
            preparation.close()
            self._report.write()
            say("\n".join(tables(self._report.content)))
            print(self._report.line(), flush=True)
        return int([status for _, status in ended] != ["done"] * len(self._steps))

    def _take(self, step: Step, preparation: Preparation) -> str:
        """Take one step and return how it ended."""
        self._processes.log(_name(step)).unlink(missing_ok=True)  # an earlier run's
        try:
            left_s = self._left_s()
            preparation.wait_for(step, left_s, alone=step.work != PARITY)
            limit_s = plan.limit_s(step, self._left_s())
            if limit_s is None:
                return "not reached"
            self._measure(step, limit_s)
        except StepFailed as error:
            return str(error)
        return "done"

    def _measure(self, step: Step, limit_s: float) -> None:
        task = self._cache / f"{_name(step)}.json"
        content = {
            "shape": step.shape,
            "cache": str(self._cache),
            "engine": asdict(step.engine),
            "device": self._arguments.device,
            "work": step.work,
            "cases": [asdict(case) for case in self._cases],
        }
        task.write_text(json.dumps(content), encoding="utf-8")
        baseline = step.engine.kind in _BASELINES
        self._processes.run(
            _name(step),
            ["bench.cuda.measure", str(task)],
            python=self._arguments.baselines_python if baseline else Path(sys.executable),
            limit_s=limit_s,
            on_result=lambda result: self._report.add(step, result),
            environment={attention.VARIABLE: "1"} if step.work == TRACE else {},
        )

    def _left_s(self) -> float:
        return max(0.0, self._deadline - time.monotonic())


def _name(step: Step) -> str:
    return f"{step.shape}-{step.engine.label}-{step.work}"


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.cuda", __doc__)
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="where all engines run")
    add("--seconds", type=number(), default=SECONDS, help="limit of the whole command")
    add("--shapes", nargs="+", choices=SHAPES, default=[*USUAL],
        help="models, in this order; the first with random weights is traced")  # fmt: skip
    add("--engines", nargs="+", help="labels, as in a report; by default the usual ones")
    add("--small", action="store_true", help="time small batches alone, for a try")
    add("--out", type=Path, default=ROOT / "runs/bench/cuda.json", help="file of the report")
    add("--cache", type=Path, default=ROOT / "runs/bench/cuda",
        help="for models, which later runs use again, and logs")  # fmt: skip
    add("--baselines-python", type=Path, default=_baselines_python(),
        help="interpreter that has CTranslate2 and optimum")  # fmt: skip
    return parser


def _baselines_python() -> Path:
    own = ROOT / ".venv-baselines/bin/python"
    return own if own.exists() else Path(sys.executable)


if __name__ == "__main__":
    sys.exit(main())
