"""`cybersolve batch --ray`: a file of questions answered by the workers of a Ray cluster.

The driver cuts the file into parts and is the only one that writes. A part becomes a file when all
its answers are there, by renaming, under the part's number: so a worker that dies costs its part
again (Ray starts it anew and repeats the call), a driver that dies costs the parts under way, and
nothing is ever lost or there twice. Settings and the model's path are the driver's; workers need
the same installation.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import ray
from tqdm import tqdm

from deploy.ray import files
from deploy.ray.cores import on_one_core
from service.bulk import InputError, answers, running
from service.runtime import load_model
from service.settings import Settings
from service.solving import Fallback

_ROOT = Path(__file__).resolve().parents[2]
_ROWS = 1000  # of a part: seconds of work, so that little is lost and calls cost little
_UNDER_WAY = 2  # parts for each worker: one computed, one waiting


@dataclass(frozen=True)
class Plan:
    """What a run's parts belong to; another plan's parts are of no use."""

    input_sha256: str
    rows: int
    fallback: str
    model: str


def run(
    source: Path,
    target: Path,
    settings: Settings,
    fallback: Fallback,
    *,
    address: str | None = None,
    rows: int = _ROWS,
) -> None:
    """Answer `source` into `target`, both JSON Lines or Parquet by their names, in order.

    Goes on where an interrupted run of the same plan stopped. Raises `InputError` for a line that
    is not a question and for parts of another plan.
    """
    settings = replace(settings, model=settings.model.resolve())
    plan = Plan(_sha256(source), rows, fallback.value, str(settings.model))
    parts = _Parts(target, plan)
    if not ray.is_initialized():
        # Ray puts the driver's working directory on the path of every worker: this has our code.
        with chdir(_ROOT):
            ray.init(address=address, log_to_driver=False)
    bar = tqdm(total=files.count(source), unit="q", file=sys.stderr)
    for done in _answer_parts(_numbered(source, rows), parts, settings, fallback):
        bar.update(done)
    bar.close()
    parts.assemble()


def _answer_parts(
    numbered: Iterator[tuple[int, list[str]]],
    parts: _Parts,
    settings: Settings,
    fallback: Fallback,
) -> Iterator[int]:
    """Have every part answered that is not yet there; the number of questions, part by part."""
    # One worker for each core that the cluster has now; each holds the model.
    count = max(1, int(ray.cluster_resources().get("CPU", 1)))
    workers = [Worker.remote(settings) for _ in range(count)]  # type: ignore[attr-defined]
    free = workers * _UNDER_WAY
    under_way: dict[Any, tuple[int, int, Any]] = {}
    for number, questions in numbered:
        if parts.has(number):
            yield len(questions)
            continue
        if not free:
            yield _keep_one(under_way, parts, free)
        worker = free.pop(0)
        answered = worker.answer.remote(questions, fallback)
        under_way[answered] = (number, len(questions), worker)
    while under_way:
        yield _keep_one(under_way, parts, free)
    for worker in workers:
        ray.kill(worker)


def _keep_one(under_way: dict[Any, tuple[int, int, Any]], parts: _Parts, free: list[Any]) -> int:
    """Wait for a part and write it; how many questions it has."""
    (answered,), _ = ray.wait(list(under_way), num_returns=1)
    number, length, worker = under_way.pop(answered)
    parts.write(number, ray.get(answered))
    free.append(worker)
    return length


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
class Worker:
    """A process with the model; Ray restarts it, and repeats its calls, should it die."""

    def __init__(self, settings: Settings) -> None:
        self._settings = on_one_core(settings)
        self._model = load_model(self._settings, one_attempt=True)

    def answer(self, questions: list[str], fallback: Fallback) -> list[dict[str, Any]]:
        async def every() -> list[dict[str, Any]]:
            async with running(self._settings, self._model) as runtime:
                return [result async for result in answers(runtime, questions, fallback)]

        return asyncio.run(every())


class _Parts:
    """The finished parts of `target`, in a folder beside it."""

    def __init__(self, target: Path, plan: Plan) -> None:
        self._target = target
        self._folder = target.with_name(f"{target.name}.parts")
        self._folder.mkdir(exist_ok=True)
        planned = self._folder / "plan.json"
        if not planned.exists():
            planned.write_text(json.dumps(asdict(plan)))
        elif json.loads(planned.read_text()) != asdict(plan):
            raise InputError(
                f"{self._folder} holds parts of another run (input, fallback or model differ); "
                "finish that run or remove the folder"
            )

    def has(self, number: int) -> bool:
        return self._path(number).exists()

    def write(self, number: int, results: list[dict[str, Any]]) -> None:
        unfinished = self._path(number).with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(result) + "\n" for result in results))
        os.replace(unfinished, self._path(number))

    def assemble(self) -> None:
        """Make the target of the parts, at once, and remove them."""
        files.write(self._target, sorted(self._folder.glob("*.jsonl")))
        shutil.rmtree(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}.jsonl"


def _numbered(source: Path, rows: int) -> Iterator[tuple[int, list[str]]]:
    questions = files.questions(source)
    number = 0
    while part := list(islice(questions, rows)):
        yield number, part
        number += 1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
