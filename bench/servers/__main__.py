"""`python -m bench.servers`: compare the service with LitServe and BentoML around one engine.

The servers take turns on the same cores, with the same questions and the same load. The command
prints a table for each scenario and ends with one line of JSON. `make bench-servers` installs what
it needs; docs/servers.md describes the comparison.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import command
from bench.command import ROOT, say
from bench.servers.entries import Entry, entries
from bench.servers.scenarios import CALLERS
from commandline.ranges import COUNT, POSITIVE
from engine.cpu import available_cpus

_QUICK_TURN_S, _QUICK_QUESTIONS = 2.0, 100


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    every = entries(arguments.baselines_python, available_cpus())
    labels = [entry.label for entry in every]
    unknown = set(arguments.only) - set(labels)
    if unknown:
        print(
            f"error: --only {min(unknown)}: expected some of {', '.join(labels)}", file=sys.stderr
        )
        return 1
    chosen = [one for one in every if one.label in (arguments.only or labels)]
    return _run(arguments, chosen, command.typed("bench.servers", argv))


def _run(arguments: argparse.Namespace, every: Sequence[Entry], typed: str) -> int:
    from bench.comparison.candidates import CandidateFailed
    from bench.comparison.report import Conditions, write
    from bench.servers import plot, report
    from bench.servers.comparison import Comparison, Durations
    from bench.servers.questions import prepare

    command.exit_when_terminated()
    arguments.out.mkdir(parents=True, exist_ok=True)
    quick = arguments.quick
    durations = Durations(
        turn_s=_QUICK_TURN_S if quick else arguments.seconds,
        trial_s=0.0 if quick or arguments.no_search else arguments.trial_seconds,
        rounds=1 if quick else arguments.rounds,
    )
    count = _QUICK_QUESTIONS if quick else arguments.questions
    workload = prepare(arguments.bundle, arguments.cache, count)
    comparison = Comparison(
        workload, arguments.bundle, arguments.out, durations, cores=available_cpus(), say=say
    )
    try:
        for entry in every:
            comparison.admit(entry)
        comparison.run(arguments.callers, arguments.rates)
    except CandidateFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        comparison.close()
    run = report.Run(
        Conditions(
            machine=command.machine(),
            commit=command.commit(),
            command=typed,
            rounds=durations.rounds,
        ),
        turn_s=durations.turn_s,
        versions=_versions(every),
        results=comparison.results,
    )
    plot.draw(run, arguments.out / "servers.png")
    write(arguments.out / "servers", report.details(run), report.tables(run), report.line(run))
    return 0


def _versions(every: Sequence[Entry]) -> Mapping[str, str]:
    """Return the versions of each server and of the engine's runtime in its environment."""
    found = {}
    for entry in every:
        package = {"ours": "cybersolve"}.get(entry.label, entry.label)
        code = (
            "from importlib.metadata import version as v;"
            f"print('{package}', v('{package}') + ', onnxruntime', v('onnxruntime'))"
        )
        result = subprocess.run(  # noqa: S603 - our own line
            [str(entry.python), "-P", "-c", code], capture_output=True, text=True, check=False
        )
        found[entry.label] = result.stdout.strip() or "unknown"
    return found


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.servers", __doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="one short turn each, to see that it works")
    add("--only", nargs="+", default=[], metavar="SERVER",
        help="ours, litserve, bentoml (default: all)")  # fmt: skip
    add("--rounds", type=COUNT, default=3, help="turns of every server; figures are their medians")
    add("--seconds", type=POSITIVE, default=8.0, help="of a turn, after one that is not counted")
    add("--callers", type=COUNT, nargs="+", default=list(CALLERS), help="of the closed loops")
    add("--rates", type=POSITIVE, nargs="+", default=[],
        help="of the open loops (default: shares of our throughput with 64 callers)")  # fmt: skip
    add("--no-search", action="store_true", help="use the first of the baselines' settings")
    add("--trial-seconds", type=POSITIVE, default=4.0, help="of one load of one trial of settings")
    add("--questions", type=COUNT, default=1000, help="different questions, asked in turn")
    add("--bundle", type=Path, default=ROOT / "models/cybersolve-mini", help="what all serve")
    add("--out", type=Path, default=Path("runs/servers"), help="for servers.json, .md and .png")
    add("--cache", type=Path, default=Path("runs/servers/cache"), help="for the questions")
    add("--baselines-python", type=Path, default=ROOT / ".venv-baselines-servers/bin/python",
        help="interpreter that has LitServe and BentoML")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
