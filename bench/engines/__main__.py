"""`python -m bench.engines`: compare our engine with PyTorch, optimum and CTranslate2.

The engines take turns on the same weights and questions, each in a process of its own. The command
prints a table for each scenario and ends with one line of JSON. `make bench` installs what it
needs; docs/performance.md describes the scenarios.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import command
from bench.command import ROOT, say
from bench.engines import levels
from bench.engines.entries import OURS, Entry, Layout, OursEntry, entries, layouts
from bench.engines.scenarios import Scenario, scenarios
from commandline.ranges import COUNT, POSITIVE
from engine.cpu import available_cpus

if TYPE_CHECKING:
    from bench.engines.comparison import Results

_SHAPES = ("mini", "flan-small")
_LONG_SHAPES = ("flan-small-long", "flan-base-long")  # run where they are named


@dataclass(frozen=True)
class Selection:
    """The engines that run, and the scenarios of each shape."""

    entries: Sequence[Entry]
    shapes: Mapping[str, Sequence[Scenario]]


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        selection = _selection(arguments)
        if arguments.level:
            os.environ.update(levels.environment(arguments.level))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return _run(arguments, selection, command.typed("bench.engines", argv))


def _selection(arguments: argparse.Namespace) -> Selection:
    """Raise `ValueError` for a name that is neither an engine, a shape nor a scenario."""
    common = arguments.layout or layouts(available_cpus())
    every = entries([*OURS, *arguments.ours], arguments.baselines_python, common)
    labels, shapes = [entry.label for entry in every], [*_SHAPES, *_LONG_SHAPES]
    of_shape = {shape: scenarios(shape, quick=arguments.quick) for shape in shapes}
    names = list(dict.fromkeys(one.name for found in of_shape.values() for one in found))
    unknown = set(arguments.only) - {*labels, *shapes, *names}
    if unknown:
        known = ", ".join([*labels, *shapes, *names])
        raise ValueError(f"--only {min(unknown)}: expected some of {known}")

    def chosen(of: Sequence[str], otherwise: Sequence[str]) -> Sequence[str]:
        """Return the names of one kind that are given, or `otherwise` where none is."""
        return [name for name in of if name in arguments.only] or otherwise

    selected = {
        shape: [one for one in of_shape[shape] if one.name in chosen(names, names)]
        for shape in chosen(shapes, _SHAPES)
    }
    for shape, found in selected.items():
        if not found:
            own = ", ".join(one.name for one in of_shape[shape])
            raise ValueError(f"--only: no scenario of {shape}; expected some of {own}")
    return Selection([entry for entry in every if entry.label in chosen(labels, labels)], selected)


def _run(arguments: argparse.Namespace, selection: Selection, typed: str) -> int:
    from bench.comparison.candidates import CandidateFailed
    from bench.comparison.report import Conditions, write
    from bench.engines import plot, report

    command.exit_when_terminated()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rounds = 1 if arguments.quick else arguments.rounds
    conditions = Conditions(
        machine=command.machine() + (f", {arguments.level}" if arguments.level else ""),
        commit=command.commit(),
        command=typed,
        rounds=rounds,
    )
    try:
        workloads = {
            shape: _compare(arguments, selection, shape, rounds) for shape in selection.shapes
        }
    except CandidateFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    run = report.Run(conditions, OURS[0].label, workloads)
    plot.draw(run, arguments.out / "engines.png")
    write(arguments.out / "engines", report.details(run), report.tables(run), report.line(run))
    return 0


def _compare(
    arguments: argparse.Namespace, selection: Selection, shape: str, rounds: int
) -> Results:
    from bench.engines import workloads
    from bench.engines.comparison import Comparison

    chosen = selection.shapes[shape]
    count = max(scenario.questions for scenario in chosen)
    if shape == "mini":
        workload = workloads.mini(arguments.cache, count, arguments.checkpoint, arguments.questions)
    else:
        workload = workloads.random_weights(shape, arguments.cache, count)
    comparison = Comparison(
        workload,
        arguments.out / shape,
        ours=OURS[0].label,
        rate_per_s=arguments.rate,
        beams=arguments.beams,
        say=say,
    )
    try:
        for entry in selection.entries:
            if shape in (entry.shapes or selection.shapes):
                comparison.admit(entry)
        for scenario in chosen:
            comparison.run(scenario, rounds)
    finally:
        comparison.close()
    return comparison.results


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.engines", __doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one round of a few questions, to see that it works")
    add("--only", nargs="+", action="extend", default=[], metavar="NAME",
        help="engines, shapes, scenarios (default: of each kind all short ones)")  # fmt: skip
    add("--rounds", type=COUNT, default=3, help="turns of every engine; figures are their medians")
    add("--layout", type=Layout.read, nargs="+", metavar="WORKERSxTHREADS",
        help="layouts to try (default: all cores for one batch, and one batch a core)")  # fmt: skip
    add("--level", choices=levels.LEVELS,
        help="instructions that all engines are kept to (default: the processor's)")  # fmt: skip
    add("--beams", type=COUNT, default=1,
        help="of each text, of ours and CTranslate2; answers are not checked above 1")  # fmt: skip
    add("--rate", type=POSITIVE,
        help="arrivals/s (default: a share of our own rate)")  # fmt: skip
    add("--checkpoint", type=Path, default=ROOT / "models/cybersolve-mini-checkpoint",
        help="plain checkpoint of the mini shape")  # fmt: skip
    add("--ours", type=OursEntry.read, nargs="+", default=[], metavar="LABEL=BUNDLE",
        help="more bundles of the mini shape to compare (default: none)")  # fmt: skip
    add("--questions", type=Path, help="dataset file (default: one that is generated)")
    add("--out", type=Path, default=Path("runs/bench"), help="for engines.json, .md and .png")
    add("--cache", type=Path, default=Path("runs/bench/cache"), help="for what is prepared once")
    add("--baselines-python", type=Path, default=ROOT / ".venv-baselines/bin/python",
        help="interpreter that has optimum and CTranslate2")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
