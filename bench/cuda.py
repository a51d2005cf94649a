"""`python -m bench.cuda`: our engine on a GPU beside PyTorch, optimum and CTranslate2 in float16.

FLAN-T5-large's shape with random weights. Each engine must first answer as PyTorch does; who is not
installed, or answers otherwise, is left out with the reason. Then batches of 1, 8 and 32 in turns.
Ends in one line of JSON. `--device cpu --shape tiny` shows that the command works.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import command
from bench.command import ROOT, say
from bench.engines import report, workloads
from bench.engines.contest import Contest, Results
from bench.engines.entries import Entry, Layout
from bench.engines.scenarios import Batches
from service.engine.sessions import has_cuda

_OURS = "ours-fp32"
_ONE = (Layout(1, 1),)
_SCENARIOS = (Batches("batch-1", 1, 20), Batches("batch-8", 8, 10), Batches("batch-32", 32, 5))


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.device == "cuda" and not has_cuda():
        print("skipped: this ONNX Runtime has no CUDA; install the extra `gpu`", file=sys.stderr)
        return 1
    results = _contest(arguments)
    run = report.Run(
        machine=command.machine(),
        commit=command.commit(),
        command=command.typed("bench.cuda", argv),
        ours=_OURS,
        rounds=arguments.rounds,
        workloads={arguments.shape: results},
    )
    for label, reason in results.excluded.items():
        print(f"left out: {label}: {reason}", file=sys.stderr)
    print(report.tables(run))
    print(json.dumps(report.line(run)))
    return 0 if _OURS in results.agreement and _OURS not in results.excluded else 1


def _contest(arguments: argparse.Namespace) -> Results:
    count = max(scenario.questions for scenario in _SCENARIOS)
    workload = workloads.flan(arguments.shape, arguments.cache, count, ("fp32",))
    contest = Contest(workload, arguments.cache / "cuda", ours=_OURS, rate_per_s=None, say=say)
    try:
        for entry in _entries(arguments.device, arguments.rivals_python):
            contest.admit(entry)
        for scenario in _SCENARIOS:
            contest.run(scenario, arguments.rounds)
    finally:
        contest.close()
    return contest.results


def _entries(device: str, rivals_python: Path) -> list[Entry]:
    own, where = Path(sys.executable), {"device": device}
    half = {**where, "compute_type": "float16" if device == "cuda" else "float32"}
    return [
        Entry("pytorch", "pytorch", own, True, _ONE, options=where),
        Entry("pytorch-compiled", "pytorch", own, True, _ONE, options={**where, "compiled": "1"}),
        Entry("optimum", "optimum", rivals_python, True, _ONE, options=where),
        Entry("ctranslate2-fp16", "ctranslate2", rivals_python, False, _ONE, options=half),
        Entry(_OURS, "ours", own, True, _ONE, options={**where, "precision": "fp32"}),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.cuda", __doc__)
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="where all engines run")
    add("--shape", choices=workloads.SHAPES, default="flan-large", help="of the random weights")
    add("--rounds", type=int, default=3, help="turns of every engine; figures are their medians")
    add("--cache", type=Path, default=ROOT / "runs/bench/cache",
        help="for what is prepared once")  # fmt: skip
    add("--rivals-python", type=Path, default=ROOT / ".venv-rivals/bin/python",
        help="interpreter that has optimum and CTranslate2 for CUDA")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
