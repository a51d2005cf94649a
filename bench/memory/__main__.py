"""`python -m bench.memory`: measure memory while loading a bundle and while serving.

Each figure comes from a process of its own. Loading: the peak of resident memory, minus that of a
process with an empty session, divided by the bytes of the graphs. Serving: resident memory of one
engine after each tenth of the questions. Linux only. The command ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import command
from bench.command import ROOT
from commandline.ranges import COUNT

_STAGES = 10
_MIB = 2**20


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.measure:
        print(json.dumps(_measure(*arguments.measure)))
    else:
        print(json.dumps(_report(arguments)))
    return 0


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.memory import prepared

    bundles = {"mini": arguments.bundle}
    if not arguments.skip_base:
        bundles["base"] = prepared.base_bundle(arguments.cache)
    sources = prepared.questions(arguments.cache, arguments.questions // _STAGES, arguments.bundle)
    empty = _in_a_process("empty", prepared.empty_graph(arguments.cache))
    return {
        "machine": command.machine(),
        "commit": command.commit(),
        "empty_mib": round(empty, 1),
        "loading": {name: _loading(bundle, empty) for name, bundle in bundles.items()},
        "serving_mib": _in_a_process("serve", arguments.bundle, sources),
    }


def _loading(bundle: Path, empty: float) -> dict[str, float]:
    """Return peak and weights; weights in files of their own count too."""
    files = [path for name in ("encoder", "decoder") for path in bundle.glob(f"{name}.*")]
    weights = sum(path.stat().st_size for path in files) / _MIB
    peak = _in_a_process("load", bundle) - empty
    return {
        "weights_mib": round(weights, 1),
        "peak_mib": round(peak, 1),
        "ratio": round(peak / weights, 2),
    }


def _in_a_process(*what: str | Path) -> Any:
    measure = [sys.executable, "-P", "-m", "bench.memory", "--measure", *map(str, what)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(  # noqa: S603
        measure, stdout=subprocess.PIPE, check=True, cwd=ROOT, env=environment
    )
    return json.loads(result.stdout)


def _measure(what: str, path: str, sources: str = "") -> Any:
    """Measure in this process, which `_in_a_process` has started."""
    from bench.memory import resident

    match what:
        case "empty":
            return resident.peak_of_session(Path(path))
        case "load":
            return resident.peak_of_loading(Path(path))
        case "serve":
            return resident.while_serving(
                Path(path), json.loads(Path(sources).read_text()), _STAGES
            )
        case other:
            raise ValueError(f"unknown measurement {other!r}: a bug of the command")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.memory", __doc__)
    add = parser.add_argument
    add("--bundle", type=Path, default=ROOT / "models/cybersolve-mini", help="the small bundle")
    add("--questions", type=COUNT, default=100_000, help="to answer while memory is watched")
    add("--cache", type=Path, default=ROOT / "runs/bench/cache",
        help="for what is prepared once")  # fmt: skip
    add("--skip-base", action="store_true", help="without FLAN-T5-base's shape (1 GB on disk)")
    add("--measure", nargs="+", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
