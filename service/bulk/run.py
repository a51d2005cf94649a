"""A bulk run: to a file through a journal that can be resumed, or as a stream of JSON Lines."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import sys
import tempfile
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from engine.bundle import MANIFEST, BundleError
from service.bulk import reading
from service.bulk.backends import Backend, Numbered
from service.bulk.formats import Answers, Format, read_rows, require, write_answers
from service.bulk.journal import Journal, Plan
from service.bulk.rows import InputError, OutputError, Row, merged
from service.bulk.target import (
    Target,
    is_stream,
    opened_input,
    opened_stream,
    require_different,
)
from service.bulk.text_formats import json_line
from service.settings import Settings
from service.solving import Fallback


@dataclass(frozen=True)
class Run:
    """The options of one run of `cybersolve batch`."""

    source: Path
    target: Path
    source_format: Format
    target_format: Format
    fallback: Fallback
    resume: bool
    overwrite: bool
    backend: Backend
    address: str | None  # address of the backend's cluster


@dataclass
class Tally:
    """The number of rows by outcome."""

    outcomes: Counter[str] = field(default_factory=Counter)
    first_error: str = ""
    resumed: int = 0  # results of an earlier run that were used

    def add(self, result: dict[str, Any]) -> None:
        if "error" in result:
            self.outcomes["error"] += 1
            self.first_error = self.first_error or result["error"]
        else:
            self.outcomes[str(result["verdict"])] += 1


def answer(run: Run, settings: Settings) -> Tally:
    """Answer every row. Raises `BulkError` if the run cannot start or finish.

    A run to a file that is interrupted leaves its results in a journal.
    """
    require_different(run.source, run.target)
    require(run.source_format)
    require(run.target_format)
    if not is_stream(run.target):
        target = Target(run.target.resolve())
        target.require_free(resume=run.resume, overwrite=run.overwrite)
        return _to_file(run, target, settings)
    if run.resume:
        raise OutputError("--resume needs an output file: nothing is kept of a stream")
    if run.target_format is Format.JSONL and run.source_format is not Format.PARQUET:
        return asyncio.run(_to_stream(run, settings))
    with tempfile.TemporaryDirectory(prefix="cybersolve-") as folder:
        target = Target(Path(folder) / "output")
        tally = _to_file(run, target, settings)
        with target.path.open("rb") as file, opened_stream(run.target) as output:
            shutil.copyfileobj(file, output)
        return tally


def _to_file(run: Run, target: Target, settings: Settings) -> Tally:
    with _regular_file(run.source) as source:
        before = os.fstat(source.fileno())
        plan = _plan(run, source, settings)
        total = _count(run, source)
        journal = Journal(target.parts, plan, anew=run.overwrite)
        try:
            if run.overwrite:
                target.mark_replaced()
            tally = Tally(resumed=len(journal))
            asyncio.run(_fill(journal, run, source, settings, total))
            if os.fstat(source.fileno()).st_mtime_ns != before.st_mtime_ns:
                raise InputError("the file was changed during the run")
            answers = Answers(source, run.source_format, journal)
            with target.written() as output:
                write_answers(output, run.target_format, answers)
            for result in answers.results():
                tally.add(result)
        except BaseException:
            journal.close() if len(journal) else journal.remove()
            raise
        journal.remove()
        return tally


async def _fill(
    journal: Journal, run: Run, source: BinaryIO, settings: Settings, total: int
) -> None:
    """Answer every question that has no result in `journal` yet."""

    async def questions() -> AsyncIterator[Numbered]:
        source.seek(0)
        index = 0
        async for row in reading.of_file(read_rows(source, run.source_format)):
            if row.error is None and index not in journal:
                yield index, row.question
            index += 1

    left = total - len(journal)
    if not left:
        return
    results = run.backend(questions(), settings, run.fallback, run.address)
    with tqdm(total=total, initial=len(journal), unit="q", file=sys.stderr, disable=None) as bar:
        async with aclosing(results):
            async for index, result in results:
                journal.append(index, result)
                bar.update()


async def _to_stream(run: Run, settings: Settings) -> Tally:
    with opened_input(run.source) as source, opened_stream(run.target) as output:
        lines = _Lines(output)
        rows = read_rows(source, run.source_format)
        read = reading.of_pipe(rows) if is_stream(run.source) else reading.of_file(rows)

        async def questions() -> AsyncIterator[Numbered]:
            async for row in read:
                index = lines.read(row)
                if row.error is None:
                    yield index, row.question

        results = run.backend(questions(), settings, run.fallback, run.address)
        async with aclosing(results):
            async for index, result in results:
                lines.answered(index, result)
        return lines.tally


class _Lines:
    """A writer of JSON Lines in row order; each line is written once those before it are."""

    def __init__(self, output: BinaryIO) -> None:
        self.tally = Tally()
        self._output = output
        self._rows: deque[Row] = deque()  # not written yet
        self._results: dict[int, dict[str, Any]] = {}
        self._written = 0

    def read(self, row: Row) -> int:
        """Take the next row of the input; return its index."""
        index = self._written + len(self._rows)
        self._rows.append(row)
        if row.error is not None:
            self.answered(index, {"error": row.error})
        return index

    def answered(self, index: int, result: dict[str, Any]) -> None:
        self._results[index] = result
        wrote = False
        while self._written in self._results:
            done = self._results.pop(self._written)
            self._output.write(json_line(merged(self._rows.popleft().record, done)))
            self.tally.add(done)
            self._written += 1
            wrote = True
        if wrote:
            self._output.flush()


@contextmanager
def _regular_file(path: Path) -> Iterator[BinaryIO]:
    """Open `path`. A pipe is copied to a file first, because it is read more than once."""
    with opened_input(path) as file:
        if not is_stream(path):
            yield file
            return
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            yield copy


def _plan(run: Run, source: BinaryIO, settings: Settings) -> Plan:
    try:
        manifest = (settings.model / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{settings.model} is not a bundle: it has no {MANIFEST}") from error
    source.seek(0)
    return Plan(
        input_sha256=hashlib.file_digest(source, "sha256").hexdigest(),  # type: ignore[arg-type]
        input_format=run.source_format,
        fallback=run.fallback,
        max_tries=settings.max_tries,
        model_sha256=hashlib.sha256(manifest).hexdigest(),
    )


def _count(run: Run, source: BinaryIO) -> int:
    """Return the number of rows with a question. Raises `InputError`."""
    source.seek(0)
    return sum(row.error is None for row in read_rows(source, run.source_format))
