"""`python -m loadtest rate | callers | ceiling`: measure throughput and latency under load."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commandline.packages import installed_by
from commandline.parser import Parser
from commandline.ranges import COUNT, POSITIVE, SEED, several
from loadtest import ceiling, figures, machine, objective, report, schedule, server
from loadtest.ceiling import CeilingError
from loadtest.machine import CpuShare
from loadtest.objective import Objective
from loadtest.server import ServerError

_PROBE = schedule.steps([32], seconds=5.0)
_FAILED = 3  # exit status of a run that does not keep its objective
_CALLERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@installed_by("pip install -r requirements/loadtest.txt")
def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        earlier = _earlier(arguments)
        with server.service(arguments.url) as url:
            outcome: dict[str, Any] = arguments.run(arguments, url, earlier)
    except (ServerError, CeilingError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(outcome))
    faults = outcome.get("verdict", {}).get("faults", [])
    for fault in faults:
        print(f"failed: {fault}", file=sys.stderr)
    return _FAILED if faults else 0


def _earlier(arguments: argparse.Namespace) -> float | None:
    """Return the load of the earlier run to compare with. Raises `ValueError`."""
    if getattr(arguments, "compare", None) is None:
        return None
    if arguments.objective is None:
        raise ValueError("--compare needs --objective: it compares the loads that keep it")
    return objective.earlier_load(arguments.compare, arguments.objective)


def _rate(arguments: argparse.Namespace, url: str, earlier: float | None) -> dict[str, Any]:
    from loadtest import driver

    plan = schedule.steps(arguments.rates or _found_rates(url), arguments.seconds)
    seed = arguments.seed
    due = schedule.evenly(plan) if arguments.evenly else schedule.at_random(plan, seed)
    _announce(plan, "requests/s")
    share = CpuShare()
    samples = driver.open_loop(url, due, seed)
    about = _about("rate (open loop, timed from when each request was due)", url, share)
    steps = figures.by_step(samples, plan)
    judged = None
    if arguments.objective is not None:
        judged = objective.verdict(
            arguments.objective, steps, all_loads=arguments.rates is not None, earlier=earlier
        )
    return _report(report.Run(about, "requests/s", steps, samples, judged), arguments.out)


def _callers(arguments: argparse.Namespace, url: str, _: float | None) -> dict[str, Any]:
    from loadtest import driver

    plan = schedule.steps(arguments.callers or _CALLERS, arguments.seconds)
    _announce(plan, "callers")
    share = CpuShare()
    samples = driver.closed_loop(url, plan, arguments.seed)
    about = _about("callers (closed loop)", url, share)
    return _report(
        report.Run(about, "callers", figures.by_step(samples, plan), samples), arguments.out
    )


def _ceiling(arguments: argparse.Namespace, url: str, _: float | None) -> dict[str, Any]:
    share = CpuShare()
    measured = ceiling.measure(
        url, connections=arguments.connections, seconds=round(arguments.seconds)
    )
    return _about("ceiling (wrk)", url, share) | asdict(measured)


def _found_rates(url: str) -> list[float]:
    """Return rates around the throughput of 32 callers in five seconds."""
    from loadtest import driver

    (probed,) = figures.by_step(driver.closed_loop(url, _PROBE), _PROBE)
    return schedule.around(probed.throughput)


def _announce(plan: Sequence[schedule.Step], unit: str) -> None:
    loads = ", ".join(f"{step.load:g}" for step in plan)
    print(f"{loads} {unit}; {plan[-1].end_s:g} s in all", file=sys.stderr)


def _report(run: report.Run, folder: Path) -> dict[str, Any]:
    report.write(run, folder)
    print(f"{folder / 'report.html'}", file=sys.stderr)
    return run.summary() | {"report": str(folder / "report.html")}


def _about(mode: str, url: str, share: CpuShare) -> dict[str, Any]:
    model, used = server.info(url), share.so_far()
    return {
        "mode": mode,
        "model": f"{model['name']} {model['version']} ({model['precision']}, {model['provider']})",
        "kernels": model["kernels"],
        "generator": machine.processor(),
        "generator_cpu": None if used is None else f"{used:.0%} of all cores during the run",
        "commit": machine.commit(),
        "url": url,
    }


def _objective(text: str) -> Objective:
    """Read an objective for argparse."""
    try:
        return objective.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m loadtest", description="Load tests of the service; each ends in JSON."
    )
    modes = parser.add_subparsers(required=True, metavar="MODE")

    rate = modes.add_parser("rate", help="open loop: requests are sent when due, answered or not")
    rate.add_argument(
        "--rates",
        type=several(POSITIVE),
        help="requests/s of each step (default: around a five-second probe)",
    )
    rate.add_argument("--evenly", action="store_true", help="not at random (Poisson)")
    rate.add_argument(
        "--objective",
        type=_objective,
        metavar="FIGURE=TIME",
        help="report the highest rate that keeps it, such as p99=100ms (default: none); exit "
        f"with status {_FAILED} if --rates do not all keep it, or, without --rates, if none does",
    )
    rate.add_argument(
        "--compare",
        type=Path,
        metavar="SUMMARY",
        help="summary.json of an earlier run: fail if the highest rate that keeps the objective "
        f"is lower than there by more than {objective.TOLERANCE:.0%}% (default: none)",
    )
    rate.set_defaults(run=_rate)

    callers = modes.add_parser("callers", help="closed loop: each caller waits for its answer")
    callers.add_argument(
        "--callers", type=several(COUNT), help="of each step (default: 1,2,4,...,64)"
    )
    callers.set_defaults(run=_callers)

    wrk = modes.add_parser("ceiling", help="wrk: the highest throughput")
    wrk.add_argument("--connections", type=COUNT, default=64, help="at once")
    wrk.set_defaults(run=_ceiling)

    for mode in (rate, callers, wrk):
        mode.add_argument("--url", help="a running service (default: one started for the test)")
        mode.add_argument("--seconds", type=POSITIVE, default=10.0, help="of each step")
    for mode in (rate, callers):
        mode.add_argument("--seed", type=SEED, default=0, help="of the questions and their times")
        mode.add_argument(
            "--out", type=Path, default=Path("runs/loadtest"), help="folder of the report"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
