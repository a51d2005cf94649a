"""Bulk runs around a fake backend: outputs that are whole, runs that are resumed, streams."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bulk.backends import Numbered, Result, backend
from service.bulk.formats import Format, format_of
from service.bulk.journal import Journal, Plan
from service.bulk.rows import BulkError, OutputError, Row
from service.bulk.run import Run, Tally, _Lines, answer
from service.settings import Settings
from service.solving import Fallback

LINES = [{"id": i, "question": f"x = {i}"} for i in range(10)]


@dataclass
class Shuffling:
    """A backend that answers every question with itself, in any order; fails after `most`."""

    most: int = 1_000_000
    asked: list[str] = field(default_factory=list)

    async def __call__(
        self,
        questions: AsyncIterable[Numbered],
        settings: Settings,
        fallback: Fallback,
        address: str | None,
    ) -> AsyncGenerator[Result, None]:
        numbered = [pair async for pair in questions]
        Random(7).shuffle(numbered)
        for index, question in numbered:
            if len(self.asked) == self.most:
                raise KeyboardInterrupt
            self.asked.append(question)
            yield index, {"answer": question, "verdict": "correct"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", LINES)


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(source: Path, target: Path, backend: Shuffling | None = None, **options: Any) -> Tally:
    plan = Run(
        source=source,
        target=target,
        source_format=format_of(source),
        target_format=format_of(target),
        fallback=options.pop("fallback", Fallback.NONE),
        resume=options.pop("resume", False),
        overwrite=options.pop("overwrite", False),
        backend=backend or Shuffling(),
        address=None,
    )
    assert not options
    return answer(plan, Settings())


def interrupt(source: Path, target: Path, after: int, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(source, target, Shuffling(most=after), **options)


def expected(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**line, "answer": line["question"], "verdict": "correct"} for line in records]


def test_rows_come_out_in_order_and_nothing_is_left_beside_them(
    source: Path, tmp_path: Path
) -> None:
    tally = run(source, tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl") == expected(LINES)
    assert tally.outcomes == {"correct": 10}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_interrupted_run_is_resumed_and_asks_nothing_twice(
    source: Path, tmp_path: Path, form: str
) -> None:
    target, whole = tmp_path / f"out.{form}", tmp_path / f"whole.{form}"
    interrupt(source, target, after=4)
    assert not target.exists()
    rest = Shuffling()
    tally = run(source, target, rest, resume=True)
    assert (tally.resumed, len(rest.asked)) == (4, 6)
    run(source, whole)
    assert target.read_bytes() == whole.read_bytes()
    assert not (tmp_path / f"out.{form}.parts").exists()


def test_a_result_that_was_cut_off_is_asked_again(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    interrupt(source, target, after=4)
    results = tmp_path / "out.jsonl.parts" / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-5])
    rest = Shuffling()
    run(source, target, rest, resume=True)
    assert len(rest.asked) == 7
    assert read(target) == expected(LINES)


def test_without_resume_or_overwrite_an_interrupted_run_is_kept(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    interrupt(source, target, after=4)
    with pytest.raises(OutputError, match="--resume continues it, --overwrite starts anew"):
        run(source, target)
    anew = Shuffling()
    run(source, target, anew, overwrite=True)
    assert len(anew.asked) == 10


def test_results_of_another_run_are_not_continued(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    interrupt(source, target, after=4)
    with pytest.raises(OutputError, match=r"another run \(fallback differ\)"):
        run(source, target, resume=True, fallback=Fallback.EXACT)
    write(source, LINES[1:])
    with pytest.raises(OutputError, match=r"another run \(input_sha256 differ\)"):
        run(source, target, resume=True)


def test_an_output_is_replaced_only_when_it_is_asked_for_and_only_when_all_is_done(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("precious")
    for resume in (False, True):
        with pytest.raises(OutputError, match="exists; --overwrite replaces it"):
            run(source, target, resume=resume)
    interrupt(source, target, after=4, overwrite=True)
    assert target.read_text() == "precious"
    run(source, target, resume=True)
    assert read(target) == expected(LINES)


def test_an_output_that_appears_during_the_run_is_kept(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"

    class Meddling(Shuffling):
        async def __call__(self, *arguments: Any) -> AsyncGenerator[Result, None]:
            async for result in super().__call__(*arguments):
                yield result
            target.write_text("precious")

    with pytest.raises(OutputError, match="was created meanwhile"):
        run(source, target, Meddling())
    assert target.read_text() == "precious"
    target.unlink()
    assert run(source, target, resume=True).resumed == 10


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["in.jsonl", "symbolic", "hard", "./folder/../in.jsonl"])
def test_the_input_is_never_overwritten(
    source: Path, tmp_path: Path, name: str, overwrite: bool
) -> None:
    (tmp_path / "symbolic").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="is the input; name another output"):
        run(source, tmp_path / name, overwrite=overwrite)
    assert read(source) == LINES


def test_a_link_is_followed_and_not_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "out.jsonl")
    run(source, tmp_path / "link.jsonl")
    assert (tmp_path / "link.jsonl").is_symlink()
    assert read(tmp_path / "out.jsonl") == expected(LINES)


def test_a_run_that_answers_nothing_leaves_nothing(source: Path, tmp_path: Path) -> None:
    interrupt(source, tmp_path / "out.jsonl", after=0)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_two_runs_do_not_share_an_output(tmp_path: Path) -> None:
    plan = Plan("a", "jsonl", "none", 10, "b")
    first = Journal(tmp_path / "parts", plan)
    with pytest.raises(OutputError, match="in use by another run"):
        Journal(tmp_path / "parts", plan, anew=True)
    first.append(3, {"answer": "5"})
    assert list(first) == [{"answer": "5"}]
    first.close()
    second = Journal(tmp_path / "parts", plan)
    assert len(second) == 1
    second.close()


def test_devices_and_pipes_are_written_to_and_not_replaced(source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read_from_pipe: list[bytes] = []
    reader = threading.Thread(target=lambda: read_from_pipe.append(pipe.read_bytes()))
    reader.start()
    run(source, pipe)
    reader.join()
    assert [json.loads(line) for line in read_from_pipe[0].splitlines()] == expected(LINES)
    assert pipe.is_fifo()
    with pytest.raises(OutputError, match="nothing is kept of a stream"):
        run(source, pipe, resume=True)


def test_a_pipe_is_read_as_a_file_is(source: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text("question\nx = 1\n"))
    writer.start()
    run(pipe, tmp_path / "out.jsonl")
    writer.join()
    assert read(tmp_path / "out.jsonl") == expected([{"question": "x = 1"}])


@given(st.lists(st.booleans(), max_size=30), st.randoms(use_true_random=False))
def test_a_stream_has_each_row_once_in_order_and_no_later_than_it_may(
    good: list[bool], random: Random
) -> None:
    output = io.BytesIO()
    lines = _Lines(output)
    waiting = []
    for number, is_good in enumerate(good):
        index = lines.read(Row({"id": number}, None if is_good else "bad"))
        assert index == number
        if is_good:
            waiting.append(index)
    random.shuffle(waiting)
    while waiting:
        index = waiting.pop()
        lines.answered(index, {"answer": str(index), "verdict": "correct"})
        written = len(output.getvalue().splitlines())
        assert written == min(waiting, default=len(good))
    found = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [line["id"] for line in found] == list(range(len(good)))
    assert all(line.get("answer", str(line["id"])) == str(line["id"]) for line in found)
    assert lines.tally.outcomes["error"] == good.count(False)


def test_a_backend_that_is_missing_is_named() -> None:
    group = "cybersolve.bulk_backends"
    broken = EntryPoint("ray", "no_such_package.bulk:answer", group)
    with pytest.raises(BulkError, match="--ray needs the extra `ray`: No module named"):
        backend("ray", [broken])
    with pytest.raises(BulkError, match="this installation has no bulk backend `ray`"):
        backend("ray", [])
    assert backend("local", [EntryPoint("local", "service.bulk.backends:local", group)])


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.CSV", Format.CSV), ("a.ndjson", Format.JSONL), ("a.pq", Format.PARQUET),
        ("a.txt", Format.JSONL), ("-", Format.JSONL),
    ],
)  # fmt: skip
def test_the_extension_names_the_format(name: str, form: Format) -> None:
    assert format_of(Path(name)) is form
