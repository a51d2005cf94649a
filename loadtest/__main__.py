"""`python -m loadtest rate | callers | ceiling`: measure throughput and latency under load."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commandline.parser import Parser
from commandline.ranges import COUNT, POSITIVE, SEED, several
from loadtest import ceiling, figures, report, schedule, server
from loadtest.ceiling import CeilingError
from loadtest.server import ServerError

_PROBE = schedule.steps([32], seconds=5.0)
_CALLERS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        with server.service(arguments.url) as url:
            outcome: dict[str, Any] = arguments.run(arguments, url)
    except (ServerError, CeilingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(outcome))
    return 0


def _rate(arguments: argparse.Namespace, url: str) -> dict[str, Any]:
    from loadtest import driver

    plan = schedule.steps(arguments.rates or _found_rates(url), arguments.seconds)
    seed = arguments.seed
    due = schedule.evenly(plan) if arguments.evenly else schedule.at_random(plan, seed)
    _announce(plan, "requests/s")
    samples = driver.open_loop(url, due, seed)
    about = _about("rate (open loop, timed from when each request was due)", url)
    return _report(
        report.Run(about, "requests/s", figures.by_step(samples, plan), samples), arguments.out
    )


def _callers(arguments: argparse.Namespace, url: str) -> dict[str, Any]:
    from loadtest import driver

    plan = schedule.steps(arguments.callers or _CALLERS, arguments.seconds)
    _announce(plan, "callers")
    samples = driver.closed_loop(url, plan, arguments.seed)
    about = _about("callers (closed loop)", url)
    return _report(
        report.Run(about, "callers", figures.by_step(samples, plan), samples), arguments.out
    )


def _ceiling(arguments: argparse.Namespace, url: str) -> dict[str, Any]:
    measured = ceiling.measure(
        url, connections=arguments.connections, seconds=round(arguments.seconds)
    )
    return _about("ceiling (wrk)", url) | asdict(measured)


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


def _about(mode: str, url: str) -> dict[str, Any]:
    model = server.info(url)
    return {
        "mode": mode,
        "model": f"{model['name']} {model['version']} ({model['precision']}, {model['provider']})",
        "generator": f"{os.cpu_count()} cores, {platform.machine()}",
        "url": url,
    }


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
