"""`python -m bench.engines.candidate`: run one engine on tasks from standard input.

Each line of JSON is a task, and each gets one line in reply, with `error` where it failed. The
first task loads the engine; the others are `answer` (every question), `batches` (a closed loop)
and `stream` (an open loop).
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time
import traceback
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.engines.candidate.rows import Rows
from bench.engines.candidate.serving import Load, Pool, Server

_ANSWER_ROWS = 64
_WARM_UPS = 2
_ALONE_S = 0.25  # between questions that arrive alone
_PACKAGES = {
    "ours": ("onnxruntime",),
    "pytorch": ("torch", "transformers"),
    "optimum": ("optimum-onnx", "onnxruntime", "transformers"),
    "ctranslate2": ("ctranslate2",),
}

_WITH_BEAMS = ("ours", "ctranslate2")
Message = dict[str, Any]


def main() -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to stderr
    candidate: Candidate | None = None
    for line in sys.stdin:
        task = json.loads(line)
        try:
            if candidate is None:
                candidate = Candidate(task)
                reply = {"versions": _versions(task["engine"])}
            else:
                reply = candidate.do(task)
        except Exception as error:  # the reply has it, and the comparison excludes the engine
            traceback.print_exc()
            reply = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        print(json.dumps(reply), file=replies, flush=True)


class Candidate:
    """A loaded engine and its questions."""

    def __init__(self, task: Message) -> None:
        questions = json.loads(Path(task["questions"]).read_text())
        self._sources: Rows = questions["sources"]
        self._server = _server(task, questions["max_new_tokens"])

    def do(self, task: Message) -> Message:
        match task["do"]:
            case "answer":
                return {"rows": self._answer(self._sources[: task["count"]])}
            case "batches":
                return self._batches(task["size"], task["calls"])
            case "stream":
                return self._stream(task["arrivals_s"], task["singles"])
            case other:
                raise ValueError(f"unknown task {other!r}: a bug of the comparison")

    def _answer(self, sources: Rows) -> Rows:
        rows: Rows = []
        for start in range(0, len(sources), _ANSWER_ROWS):
            rows += self._server.answer(sources[start : start + _ANSWER_ROWS])
        return rows

    def _batches(self, size: int, calls: int) -> Message:
        questions = cycle(self._sources)
        batches = [list(islice(questions, size)) for _ in range(calls)]
        for batch in batches[-_WARM_UPS:]:
            self._server.answer(batch)
        return {"latencies_s": [self._timed(batch) for batch in batches]}

    def _stream(self, arrivals_s: list[float], singles: int) -> Message:
        """Measure `singles` questions alone in the same way, and then the stream."""
        alone_s = [_ALONE_S * number for number in range(singles)]
        arrivals_s = alone_s + [_ALONE_S * singles + arrival_s for arrival_s in arrivals_s]
        sources = list(islice(cycle(self._sources), len(arrivals_s)))
        self._server.answer(sources[:_ANSWER_ROWS])
        latencies_s = self._server.stream(sources, arrivals_s)
        return {"latencies_s": latencies_s[singles:], "alone_s": latencies_s[:singles]}

    def _timed(self, batch: Rows) -> float:
        started = time.perf_counter()
        self._server.answer(batch)
        return time.perf_counter() - started


def _versions(engine: str) -> str:
    return ", ".join(f"{package} {version(package)}" for package in _PACKAGES[engine])


def _server(task: Message, max_new_tokens: int) -> Server:
    """Return the engine that `task` names, with its workers; import only its packages."""
    workers, threads = task["workers"], task["threads"]
    device, beams = task.get("device", "cpu"), task["beams"]
    if beams > 1 and task["engine"] not in _WITH_BEAMS:
        raise ValueError(f"{task['engine']} is compared greedily only; expected --beams 1")
    load: Load
    plain, cache = Path(task["plain"]), Path(task["cache"])
    match task["engine"]:
        case "ours":
            from bench.engines.candidate.ours import Ours

            bundle = task.get("bundle") or task["bundles"][task["precision"]]
            return Ours(Path(bundle), workers, threads, device, beams=beams)
        case "ctranslate2":
            from bench.engines.candidate import ctranslate

            folder = ctranslate.convert(plain, cache)
            return Pool.of_threads(
                workers,
                ctranslate.load(
                    folder,
                    workers,
                    threads,
                    max_new_tokens,
                    task["compute_type"],
                    device=device,
                    beams=beams,
                ),
            )
        case "pytorch":
            from bench.engines.candidate import pytorch

            load = functools.partial(
                pytorch.load,
                Path(task["checkpoint"]),
                threads,
                max_new_tokens,
                device=device,
                dtype=task.get("dtype", "float32"),
                compiled="compiled" in task,
            )
        case "optimum":
            from bench.engines.candidate import optimum

            load = functools.partial(
                optimum.load,
                optimum.convert(plain, cache, task.get("dtype", "fp32")),
                threads,
                max_new_tokens,
                device,
            )
        case other:
            raise ValueError(f"unknown engine {other!r}: a bug of the comparison")
    return Pool.of_processes(workers, load)


if __name__ == "__main__":
    main()
