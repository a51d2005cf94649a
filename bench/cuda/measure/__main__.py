"""`python -m bench.cuda.measure TASK`: run one engine on one model, as the file TASK says.

Each result is a line of JSON on standard output as soon as it is there, so that a process that is
stopped at its time limit loses one measurement. The other output goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cuda.measure.candidate import Candidate
from bench.cuda.measure.clock import timed
from bench.cuda.models import Model
from bench.cuda.plan import TIMES, TRACE, Case, Engine
from service.children import live_below_the_parent

_TRACED = Case(32, 40, 4)


def main(path: str) -> None:
    live_below_the_parent()  # a command that is killed leaves nothing on the GPU
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr

    def emit(**result: Any) -> None:
        print(json.dumps(result), file=results, flush=True)

    task = json.loads(Path(path).read_text(encoding="utf-8"))
    model, engine = Model(task["shape"], Path(task["cache"])), Engine(**task["engine"])
    started = time.perf_counter()
    candidate = _load(engine, model, task["device"])
    emit(load_s=round(time.perf_counter() - started, 1), **candidate.facts())
    if task["work"] == TRACE:
        emit(gpu_kernels=_trace(candidate, model))
        return
    sources, new_tokens = model.questions()
    emit(answers=[asdict(one) for one in candidate.scored(sources, new_tokens)])
    if task["work"] == TIMES:
        for case in (Case(**one) for one in task["cases"]):
            emit(case=case.name, **_time(candidate, case, model.vocabulary))


def _load(engine: Engine, model: Model, device: str) -> Candidate:
    """Import only what the engine needs: the environments have different packages."""
    match engine.kind:
        case "ours":
            from bench.cuda.measure.ours import Ours

            bundle = model.bundle(engine.options["precision"])
            if "cross_attention" in engine.options:
                from bench.cuda.measure.attention24 import with_attention24

                bundle = with_attention24(bundle)
            return Ours(bundle, device, engine.options)
        case "pytorch":
            from bench.cuda.measure.pytorch import PyTorch

            return PyTorch(model.checkpoint, device, engine.options)
        case "ctranslate2":
            from bench.cuda.measure.baselines import Baseline
            from bench.engines.candidate import ctranslate

            folder = ctranslate.convert(model.checkpoint, model.folder)
            return Baseline(
                ctranslate.load(folder, 1, 0, 1, engine.options["compute_type"], device=device),
                "ctranslate2",
            )
        case "optimum":
            from bench.cuda.measure.baselines import Baseline
            from bench.engines.candidate import optimum

            folder = optimum.convert(model.checkpoint, model.folder, engine.options["dtype"])
            return Baseline(
                optimum.load(folder, os.cpu_count() or 1, 1, device),
                "optimum-onnx", "transformers",
            )  # fmt: skip
        case other:
            raise ValueError(f"unknown engine {other!r}: a bug of the comparison")


def _trace(candidate: Candidate, model: Model) -> dict[str, Any]:
    from bench.cuda.measure.gpu_kernels import recorded

    sources = _TRACED.sources(model.vocabulary)

    def call() -> None:
        candidate.answer(sources, _TRACED.new_tokens, _TRACED.rows)

    call()
    return {"case": _TRACED.name, **recorded(call)}


def _time(candidate: Candidate, case: Case, vocabulary: int) -> dict[str, Any]:
    sources = case.sources(vocabulary)
    try:
        return timed(lambda: candidate.answer(sources, case.new_tokens, case.rows), len(sources))
    except Exception as error:  # out of memory, say: the other cases still count
        return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


if __name__ == "__main__":
    main(*sys.argv[1:])
