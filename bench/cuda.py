"""`python -m bench.cuda`: compare our engine on a GPU with PyTorch, optimum and CTranslate2.

The weights are random, in FLAN-T5-large's shape. Before any timing, each engine in fp32 must give
PyTorch's answers; for half precision the report shows the share of equal answers. An engine that is
not installed, answers differently or does not run wholly on the GPU (ours in fp32: see
docs/performance.md) is left out with the reason. Batches of 1, 8 and 32 follow, in turns. The
command ends with one line of JSON. `--device cpu --shape tiny` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench import command
from bench.command import ROOT, say
from bench.comparison.report import Conditions
from bench.engines import report, workloads
from bench.engines.comparison import Comparison, Results
from bench.engines.entries import Entry, Layout
from bench.engines.scenarios import Batches
from commandline.ranges import COUNT
from engine.sessions import has_cuda

_OURS = "ours-fp16"
_ONE = (Layout(1, 1),)
_SCENARIOS = (Batches("batch-1", 1, 20), Batches("batch-8", 8, 10), Batches("batch-32", 32, 5))


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.device == "cuda" and not has_cuda():
        print("skipped: this ONNX Runtime has no CUDA; install the extra `gpu`", file=sys.stderr)
        return 1
    results = _compare(arguments)
    run = report.Run(
        Conditions(
            machine=command.machine(),
            commit=command.commit(),
            command=command.typed("bench.cuda", argv),
            rounds=arguments.rounds,
        ),
        ours=_OURS,
        workloads={arguments.shape: results},
    )
    for label, reason in results.excluded.items():
        print(f"left out: {label}: {reason}", file=sys.stderr)
    print(report.tables(run))
    print(json.dumps(report.line(run)))
    return 0 if _OURS in results.agreement and _OURS not in results.excluded else 1


def _compare(arguments: argparse.Namespace) -> Results:
    count = max(scenario.questions for scenario in _SCENARIOS)
    workload = workloads.random_weights(arguments.shape, arguments.cache, count, ("fp32", "fp16"))
    folder = arguments.cache / "cuda"
    comparison = Comparison(workload, folder, ours=_OURS, rate_per_s=None, say=say)
    try:
        for entry in _entries(arguments.device, arguments.baselines_python):
            comparison.admit(entry)
        for scenario in _SCENARIOS:
            comparison.run(scenario, arguments.rounds)
    finally:
        comparison.close()
    return comparison.results


def _entries(device: str, baselines_python: Path) -> list[Entry]:
    own = Path(sys.executable)
    half = "float16" if device == "cuda" else "float32"  # CTranslate2 has no float16 on a CPU

    def entry(label: str, python: Path = own, *, exact: bool = False, **options: str) -> Entry:
        engine = label.partition("-")[0]
        return Entry(label, engine, python, exact, _ONE, options={"device": device, **options})

    return [
        entry("pytorch", exact=True),
        entry("pytorch-bf16", dtype="bfloat16"),
        entry("pytorch-bf16-compiled", dtype="bfloat16", compiled="1"),
        entry("optimum", baselines_python, exact=True),
        entry("optimum-fp16", baselines_python, dtype="fp16"),
        entry("ctranslate2-fp16", baselines_python, compute_type=half),
        entry("ours-fp32", exact=True, precision="fp32"),
        entry(_OURS, precision="fp16"),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.cuda", __doc__)
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="where all engines run")
    add("--shape", choices=workloads.RANDOM, default="flan-large", help="of the random weights")
    add("--rounds", type=COUNT, default=3, help="turns of every engine; figures are their medians")
    add("--cache", type=Path, default=ROOT / "runs/bench/cache",
        help="for what is prepared once")  # fmt: skip
    add("--baselines-python", type=Path, default=ROOT / ".venv-baselines/bin/python",
        help="interpreter that has optimum and CTranslate2 for CUDA")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
