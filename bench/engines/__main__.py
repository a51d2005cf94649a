"""`python -m bench.engines`: our engine beside PyTorch, optimum and CTranslate2.

On the same weights and questions, each engine in a process of its own, in turns. Prints a table a
scenario and ends in one line of JSON; `make bench` installs what it needs. docs/performance.md says
what the scenarios mean.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import command
from bench.command import ROOT, say
from bench.engines import levels
from bench.engines.entries import OURS, Entry, Layout, OursEntry, entries, layouts
from bench.engines.scenarios import FULL, QUICK, Scenario
from engine.cpu import available_cpus

if TYPE_CHECKING:
    from bench.engines.contest import Results

_SHAPES = ("mini", "flan-small")


@dataclass(frozen=True)
class Selection:
    """What of everything runs."""

    shapes: Sequence[str]
    entries: Sequence[Entry]
    scenarios: Sequence[Scenario]


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        selection = _selection(arguments)
        if arguments.level:
            os.environ.update(levels.environment(arguments.level))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _run(arguments, selection, command.typed("bench.engines", argv))
    return 0


def _selection(arguments: argparse.Namespace) -> Selection:
    """Raises `ValueError` for a name that is neither an engine, a shape nor a scenario."""
    scenarios = QUICK if arguments.quick else FULL
    common = arguments.layout or layouts(available_cpus())
    everyone = entries([*OURS, *arguments.ours], arguments.rivals_python, common)
    labels, names = [entry.label for entry in everyone], [scenario.name for scenario in scenarios]
    unknown = set(arguments.only) - {*labels, *_SHAPES, *names}
    if unknown:
        known = ", ".join([*labels, *_SHAPES, *names])
        raise ValueError(f"--only {min(unknown)}: expected some of {known}")

    def chosen(of: Sequence[str]) -> list[str]:
        """Those of one kind that are named; all, when none is."""
        return [name for name in of if name in arguments.only] or list(of)

    return Selection(
        shapes=chosen(_SHAPES),
        entries=[entry for entry in everyone if entry.label in chosen(labels)],
        scenarios=[scenario for scenario in scenarios if scenario.name in chosen(names)],
    )


def _run(arguments: argparse.Namespace, selection: Selection, typed: str) -> None:
    from bench.engines import plot, report

    command.exit_when_terminated()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rounds = 1 if arguments.quick else arguments.rounds
    run = report.Run(
        machine=command.machine() + (f", {arguments.level}" if arguments.level else ""),
        commit=command.commit(),
        command=typed,
        ours=OURS[0].label,
        rounds=rounds,
        workloads={
            shape: _contest(arguments, selection, shape, rounds) for shape in selection.shapes
        },
    )
    (arguments.out / "engines.json").write_text(json.dumps(report.details(run), indent=2) + "\n")
    (arguments.out / "engines.md").write_text(report.tables(run))
    plot.draw(run, arguments.out / "engines.png")
    print(report.tables(run))
    print(json.dumps(report.line(run)))


def _contest(
    arguments: argparse.Namespace, selection: Selection, shape: str, rounds: int
) -> Results:
    from bench.engines import workloads
    from bench.engines.contest import Contest

    count = max(scenario.questions for scenario in selection.scenarios)
    if shape == "mini":
        workload = workloads.mini(arguments.cache, count, arguments.checkpoint, arguments.questions)
    else:
        workload = workloads.flan(shape, arguments.cache, count)
    contest = Contest(
        workload, arguments.out / shape, ours=OURS[0].label, rate_per_s=arguments.rate, say=say
    )
    try:
        for entry in selection.entries:
            if shape in (entry.shapes or _SHAPES):
                contest.admit(entry)
        for scenario in selection.scenarios:
            contest.run(scenario, rounds)
    finally:
        contest.close()
    return contest.results


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.engines", __doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of a few questions, to see that it works")
    add("--only", nargs="+", default=[], metavar="NAME",
        help="engines, shapes and scenarios; of a kind that none is named of, all")  # fmt: skip
    add("--rounds", type=int, default=3, help="turns of every engine; figures are their medians")
    add("--layout", type=Layout.read, nargs="+", metavar="WORKERSxTHREADS",
        help="layouts to try instead of all cores for one batch and one batch a core")  # fmt: skip
    add("--level", choices=levels.LEVELS,
        help="instructions that all engines are kept to; not given: the processor's")  # fmt: skip
    add("--rate", type=float, default=None, help="arrivals/s, instead of a share of our own rate")
    add("--checkpoint", type=Path, default=ROOT / "models/cybersolve-mini-checkpoint",
        help="plain checkpoint of the mini shape")  # fmt: skip
    add("--ours", type=OursEntry.read, nargs="+", default=[], metavar="LABEL=BUNDLE",
        help="more bundles of the mini shape to compare")  # fmt: skip
    add("--questions", type=Path, default=None, help="dataset file; if not given, generated")
    add("--out", type=Path, default=Path("runs/bench"), help="for engines.json, .md and .png")
    add("--cache", type=Path, default=Path("runs/bench/cache"), help="for what is prepared once")
    add("--rivals-python", type=Path, default=ROOT / ".venv-rivals/bin/python",
        help="interpreter that has optimum and CTranslate2")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
