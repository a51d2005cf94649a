"""`python -m bench.engines.by_level`: ours beside CTranslate2 at each level of the processor.

Runs `bench.engines` once for each level, with the options given after `--`, and prints one table of
ratios; `make bench-levels` installs what it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import command
from bench.engines import levels

_COMPARED = (
    ("ours-int8", ("ctranslate2-int8", "ctranslate2-fp32")),
    ("ours-fp32", ("ctranslate2-fp32",)),
)
Runs = Mapping[str, Mapping[str, Any]]  # the file of each level's run


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    runs: dict[str, Mapping[str, Any]] = {}
    for level in levels.here():
        runs[level] = _run(level, arguments.out, arguments.options)
        (arguments.out / "levels.md").write_text(table(runs))  # an hour of work, if it is cut off
    print(table(runs))
    print(json.dumps({level: run["scenarios"] for level, run in runs.items()}))
    return 0


def _run(level: str, out: Path, options: Sequence[str]) -> Mapping[str, Any]:
    """Run one level in a process of its own, as engines read their level when they start."""
    folder = out / level
    only = ["ours-int8", "ours-fp32", "ctranslate2-int8", "ctranslate2-fp32"]
    subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "bench.engines", "--level", level, "--out", str(folder),
         *options, "--only", *only],
        check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(command.ROOT)},
    )  # fmt: skip
    run: Mapping[str, Any] = json.loads((folder / "engines.json").read_text())
    return run


def table(runs: Runs) -> str:
    """Return Markdown: questions/s of ours by those of CTranslate2, a line for each scenario.

    int8 is divided by the faster of CTranslate2's precisions: without VNNI its int8 can be the
    slower one, or answer wrongly and be left out, which lines below the table say.
    """
    first = next(iter(runs.values()))
    heads = [f"{level} {ours.removeprefix('ours-')}" for level in runs for ours, _ in _COMPARED]
    lines = [
        f"{first['machine']}; commit {first['commit']}; medians of {first['rounds']} rounds.",
        "",
        f"| | {' | '.join(heads)} |",
        f"| --- |{' --- |' * len(heads)}",
    ]
    for scenario in first["scenarios"]:
        ratios = [
            _ratio(run["scenarios"].get(scenario, {}), ours, others)
            for run in runs.values()
            for ours, others in _COMPARED
        ]
        lines.append(f"| {scenario} | {' | '.join(ratios)} |")
    excluded = {
        f"{level}, {shape}: {label} {why}."
        for level, run in runs.items()
        for shape, workload in run["workloads"].items()
        for label, why in workload["excluded"].items()
    }
    lines += ["", *sorted(excluded)] if excluded else []
    return "\n".join(lines) + "\n"


def _ratio(found: Mapping[str, Mapping[str, float]], ours: str, others: Sequence[str]) -> str:
    rates = [found[other]["per_s"] for other in others if other in found]
    return f"{found[ours]['per_s'] / max(rates):.2f}" if ours in found and rates else "-"


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.engines.by_level", __doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/bench-levels"), help="a folder a level"
    )
    parser.add_argument("options", nargs="*", help="of bench.engines, after --")
    return parser


if __name__ == "__main__":
    sys.exit(main())
