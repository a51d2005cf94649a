"""`python -m bench.cuda.tuned`: fine-tune a model of a FLAN-T5's shape, serve it, and ask it.

`training finetune` learns pairs of random words, in bf16 on a GPU. `cybersolve serve` converts
its model (to fp16 for a GPU) and answers over HTTP; its texts are compared with PyTorch's in fp32.
`--out` has all figures so far at any time; the last line of standard output is the report in one
line. `--device cpu --shape tiny` shows that it works.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import command
from bench.command import ROOT, say
from bench.comparison.candidates import CandidateFailed
from bench.cuda.machine import SECONDS, can_use
from bench.cuda.models import REAL, SHAPES, Model
from bench.cuda.processes import (
    LOG_SHOWN,
    OnResult,
    Processes,
    StepFailed,
    own_environment,
)
from bench.cuda.report import write_whole
from bench.servers import load
from bench.servers.process import ServerProcess
from commandline.ranges import COUNT, number
from engine.kernels import ON_GPU
from loadtest.server import free_port

_PAIRS, _SOURCE_WORDS, _TARGET_WORDS = 128, (20, 40), (2, 6)
_CALLERS = (1, 8, 32, 128)
_ROWS = 128  # of the engine
_ASKING = 32  # callers that ask for each text once
_OK = 200
_SEED = 5


def main(argv: list[str] | None = None) -> int:
    command.exit_when_terminated()
    arguments = _parser().parse_args(argv)
    if not can_use(arguments.device):
        return 1
    return _Tuned(arguments, argv).run()


class _Tuned:
    """The stages of one run, its report and its deadline."""

    def __init__(self, arguments: argparse.Namespace, argv: list[str] | None) -> None:
        self._arguments = arguments
        self._deadline: float = time.monotonic() + arguments.seconds
        self._model = Model(arguments.shape, arguments.cache.resolve())
        self._model.folder.mkdir(parents=True, exist_ok=True)
        self._folder = self._model.folder / "tuned"
        self._pairs = self._model.folder / "pairs.jsonl"
        self._processes = Processes(self._model.folder)
        self._expected: dict[str, Any] = {}  # by PyTorch
        self._log: Path | None = None  # of the last stage
        self._report: dict[str, Any] = {
            "command": command.typed("bench.cuda.tuned", argv),
            "commit": command.commit(),
            "machine": command.machine(),
            "seconds": {},
            "status": "cut off",
        }

    def run(self) -> int:
        """Return 0 if every stage was done."""
        try:
            self._stage("base", self._base)
            self._stage("finetune", self._finetune)
            self._stage("answers of PyTorch", self._answers)
            self._stage("serve", self._serve)
            self._report["status"] = "done"
        except StepFailed as error:
            self._report["status"] = str(error)
            self._report["log"] = self._end_of_log()
            say(f"error: {error}")
        finally:
            self._processes.close()
            self._write()
            print(json.dumps(self._report), flush=True)
        return int(self._report["status"] != "done")

    def _end_of_log(self) -> str:
        """Return the end of the last stage's log: the machine may be gone before it can be read."""
        if self._log is None or not self._log.exists():
            return ""
        return self._log.read_text(encoding="utf-8", errors="replace")[-LOG_SHOWN:]

    def _stage(self, name: str, work: Callable[[], None]) -> None:
        started = time.monotonic()
        if started >= self._deadline:
            raise StepFailed(f"{name}: not reached")
        try:
            work()
        finally:
            self._report["seconds"][name] = round(time.monotonic() - started, 1)
            self._write()
        say(f"{name}: {self._report['seconds'][name]} s")

    def _write(self) -> None:
        out: Path = self._arguments.out
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, self._report)

    # -- stages ------------------------------------------------------------------------------------

    def _base(self) -> None:
        self._module("base", ["bench.cuda.prepare", "untrained", self._model.shape,
                              str(self._model.cache)])  # fmt: skip
        config = json.loads((self._model.untrained / "config.json").read_text(encoding="utf-8"))
        write_pairs(self._pairs, config["vocab_size"])

    def _finetune(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # a run of other settings
        steps, batch = self._arguments.steps, self._arguments.batch_size
        epochs = -(-steps * batch // _PAIRS)
        self._module("finetune", [
            "training", "finetune", "--base", str(self._model.untrained),
            "--pairs", str(self._pairs), "--validation", str(self._pairs),
            "--run-folder", str(self._folder), "--phases", f"{epochs}:{self._arguments.rate}",
            "--batch-size", str(batch), "--warmup-steps", str(steps // 10),
            "--evaluate-every", str(steps), "--save-every", str(steps),
        ])  # fmt: skip
        log = (self._folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
        self._report["training"] = [json.loads(line) for line in log]

    def _answers(self) -> None:
        self._module(
            "answers", ["bench.cuda.tuned.answers", str(self._folder / "model"), str(self._pairs),
                        self._arguments.device], self._expected.update,
        )  # fmt: skip

    def _module(self, name: str, module: list[str], on_result: OnResult = lambda _: None) -> None:
        self._log = self._processes.log(f"tuned-{name}")
        self._processes.run(
            f"tuned-{name}",
            module,
            python=Path(sys.executable),
            limit_s=self._deadline - time.monotonic(),
            on_result=on_result,
        )

    def _serve(self) -> None:
        port, device = free_port(), self._arguments.device
        self._log = self._processes.log("tuned-serve")
        served = self._report["served"] = {"kernels": self._arguments.kernels}
        server = ServerProcess(
            [sys.executable, "-P", "-m", "service.cli", "serve"],
            own_environment() | {
                "CYBERSOLVE_MODEL": str(self._folder / "model"),
                "CYBERSOLVE_MODEL_CACHE": str(self._folder / "bundles"),
                "CYBERSOLVE_PRECISION": "fp16" if device == "cuda" else "fp32",
                "CYBERSOLVE_PROVIDER": device,
                "CYBERSOLVE_KERNELS": self._arguments.kernels,
                "CYBERSOLVE_MAX_BATCH_ROWS": str(_ROWS),
                "CYBERSOLVE_CACHED_ANSWERS": "0",
                "CYBERSOLVE_PORT": str(port),
            },
            self._log,
        )  # fmt: skip
        try:
            started = time.monotonic()
            left_s = self._deadline - time.monotonic()  # it converts the model first
            server.wait_ready(f"http://127.0.0.1:{port}/readyz", left_s)
            served["ready_s"] = round(time.monotonic() - started, 1)
            self._ask(port, served)
        except CandidateFailed as error:
            raise StepFailed(str(error)) from error
        finally:
            server.close()

    def _ask(self, port: int, served: dict[str, Any]) -> None:
        lines = self._pairs.read_text(encoding="utf-8").splitlines()
        pairs = [json.loads(line) for line in lines]
        asked = load.Asked(
            [pair["source"] for pair in pairs], "/generate", "text",
            max_new_tokens=self._expected["max_new_tokens"],
        )  # fmt: skip
        bodies = dict(load.once(port, asked, callers=_ASKING).bodies)
        texts = [json.loads(bodies.get(number, b"{}")).get("text") for number in range(len(pairs))]
        served["texts"] = len(pairs)
        served["equal_to_pytorch"] = sum(map(str.__eq__, self._expected["texts"], map(str, texts)))
        targets = [pair["target"] for pair in pairs]
        served["right"] = sum(map(str.__eq__, targets, map(str, texts)))
        seconds = self._arguments.turn_seconds
        for callers in self._arguments.callers:
            answers = load.closed_loop(port, asked, callers=callers, seconds=seconds)
            done = answers.statuses.count(_OK)
            figures = {"per_s": round(done / seconds, 1), "failed": len(answers.statuses) - done}
            served[f"{callers} callers"] = figures
            self._write()


def write_pairs(path: Path, vocabulary: int) -> None:
    """Write pairs of random words, as `bench.engines.random_weights` names them."""
    chance = random.Random(_SEED)

    def words(least: int, most: int) -> str:
        return " ".join(
            f"w{chance.randrange(2, vocabulary - 1)}" for _ in range(chance.randint(least, most))
        )

    pairs = [{"source": words(*_SOURCE_WORDS), "target": words(*_TARGET_WORDS)}
             for _ in range(_PAIRS)]  # fmt: skip
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = command.parser("bench.cuda.tuned", __doc__)
    add = parser.add_argument
    add("--device", choices=["cuda", "cpu"], default="cuda", help="where it is served")
    add("--shape", choices=[shape for shape in SHAPES if shape != REAL], default="flan-large",
        help="of the model")  # fmt: skip
    add("--steps", type=COUNT, default=100, help="of the fine-tuning")
    add("--batch-size", type=COUNT, default=64, help="examples a step")
    add("--rate", type=number(), default=3e-4, help="learning rate")
    add("--kernels", choices=("auto", "none", *ON_GPU), default="none", help="of the service")
    add("--callers", type=COUNT, nargs="+", default=_CALLERS, help="of the service, in turns")
    add("--turn-seconds", type=number(), default=3.0, help="time of each turn")
    add("--seconds", type=number(), default=SECONDS, help="limit of the whole command")
    add("--out", type=Path, default=ROOT / "runs/bench/cuda-tuned.json", help="file of the report")
    add("--cache", type=Path, default=ROOT / "runs/bench/cuda", help="for models and logs")
    return parser


if __name__ == "__main__":
    sys.exit(main())
