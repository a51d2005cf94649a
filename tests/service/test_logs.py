"""The log: a line for each request, of one shape, with no more in it than was agreed."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service import logs
from service.api.keys import new_key
from service.log_writer import LogWriter
from tests.service.app import serve

TRACE = "0af7651916cd43dd8448eb211c80319c"
Lines = Callable[[], list[dict[str, Any]]]
BOUND_S = 30.0  # for a broken log to fail a test
QUESTION = {"question": "x + 12345 = 12346"}


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Capture the service's log as JSON; restore the process's logging afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    logs.configure_logging("json", stream=stream)

    def logged() -> list[dict[str, Any]]:
        lines = map(json.loads, stream.getvalue().splitlines())
        return [line for line in lines if line["logger"].startswith("service.")]

    yield logged
    root.handlers[:] = handlers
    root.setLevel(level)


def requests(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["logger"] == "service.requests"]


def test_a_request_is_one_line_without_its_question(
    bundle: Path, tmp_path: Path, lines: Lines
) -> None:
    key, entry = new_key("alice")
    (tmp_path / "keys").write_text(entry)

    async def scenario(client: httpx.AsyncClient) -> None:
        headers = {
            "x-request-id": "mine",
            "x-api-key": key,
            "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        }
        response = await client.post("/solve?token=hush", json=QUESTION, headers=headers)
        logged = lines()
        (line,) = requests(logged)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
        assert line.pop("duration_ms") >= line["queue_ms"] + line["inference_ms"]
        assert line.pop("queue_ms") >= 0
        assert line.pop("inference_ms") > 0
        assert line == {
            "level": "INFO",
            "logger": "service.requests",
            "message": "POST /solve 200",
            "request_id": "mine",
            "method": "POST",
            "route": "/solve",
            "status": 200,
            "bytes": len(response.content),
            "client": "127.0.0.1",
            "key": "alice",
            "trace_id": TRACE,
        }
        assert not re.search(f"12345|hush|{key}", json.dumps(logged))

    serve(bundle, scenario, api_keys_file=tmp_path / "keys")


def test_questions_in_a_tensor_are_timed_like_one(bundle: Path, lines: Lines) -> None:
    tensor = {"name": "question", "datatype": "BYTES", "shape": [2], "data": ["x = 1", "2x = 4"]}

    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/v2/models/tiny/infer", json={"inputs": [tensor]})
        (line,) = requests(lines())
        assert line["duration_ms"] >= line["queue_ms"] + line["inference_ms"]
        assert line["inference_ms"] > 0

    serve(bundle, scenario)


def test_questions_are_logged_where_that_was_asked_for(bundle: Path, lines: Lines) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        await client.post("/solve", json=QUESTION)
        await client.post("/solve/batch", json={"questions": ["x = 1", "x = \u2028 2"]})
        one, batch = requests(lines())
        assert one["questions"] == [QUESTION["question"]]
        assert batch["questions"] == ["x = 1", "x = \u2028 2"]

    serve(bundle, scenario, log_questions=True)


def test_refusals_are_logged_and_health_is_not(bundle: Path, lines: Lines) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in ("/livez", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200
        await client.get("/nowhere/%0A%0D?q")
        await client.post("/solve", content=b"{")
        unknown, bad = requests(lines())
        assert (unknown["route"], unknown["status"]) == ("unmatched", 404)
        assert unknown["message"] == "GET /nowhere/%0A%0D 404"  # as sent: one line whatever it is
        assert (bad["route"], bad["status"]) == ("/solve", 422)

    serve(bundle, scenario)


def test_a_bug_is_logged_once_with_its_traceback(bundle: Path, lines: Lines) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        app = client._transport.app  # type: ignore[attr-defined]
        app.state.runtime.solver = None
        await client.post("/solve", json=QUESTION, headers={"x-request-id": "mine"})
        bug, request = [line for line in lines() if "mine" in json.dumps(line)]
        assert (bug["level"], bug["message"]) == ("ERROR", "request mine: this is a bug")
        assert bug["exception"].splitlines()[-1].startswith("AttributeError")
        assert request["status"] == 500

    serve(bundle, scenario)


def test_text_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("a.b", logging.INFO, __file__, 1, "GET %s", ("/x",), None)
    record.fields = {"status": 200, "key": "al\nice"}
    assert logs.TextLines().format(record) == r'INFO a.b: GET /x status=200 key="al\nice"'


# -- lines are written by a thread -----------------------------------------------------------------


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("a", logging.INFO, __file__, 1, message, (), None)


def read_to_the_end(reader: int) -> bytes:
    with open(reader, "rb") as file:
        return file.read()


def test_lines_are_written_in_order_and_flushed() -> None:
    reader, writer = os.pipe()
    log = LogWriter(writer)
    for number in range(1000):
        log.handle(record(f"line {number}"))
    log.flush()
    os.close(writer)
    assert read_to_the_end(reader).decode() == "".join(f"line {n}\n" for n in range(1000))
    assert log.dropped_lines == 0


@pytest.mark.parametrize("blocking", [True, False])
def test_every_line_is_written_or_counted_as_dropped(blocking: bool) -> None:
    """The pipe is full at first; once it is read, all that waited comes, and the count."""
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    log = LogWriter(writer, max_pending_bytes=200_000)
    for number in range(10_000):
        log.handle(record(f"{number:099}"))
    dropped = log.dropped_lines
    assert dropped > 0
    received = bytearray()

    def read() -> None:
        while piece := os.read(reader, 1 << 16):
            received.extend(piece)

    reading = threading.Thread(target=read)
    reading.start()
    log.flush(BOUND_S)
    os.close(writer)
    reading.join(BOUND_S)
    os.close(reader)
    lines = received.decode().splitlines()
    notice = f"{dropped} log lines were dropped: they were not read or written fast enough"
    lines.remove(notice)
    assert len(lines) == 10_000 - dropped
    assert sorted(lines) == lines


def test_a_log_call_with_wrong_arguments_is_a_line_about_it() -> None:
    reader, writer = os.pipe()
    log = LogWriter(writer)
    log.handle(logging.LogRecord("a", logging.INFO, __file__, 1, "%d of", ("x",), None))
    log.flush()
    os.close(writer)
    line = read_to_the_end(reader).decode()
    assert line.startswith("a log line of a with the message '%d of' has no form: TypeError(")


def test_a_file_that_cannot_be_written_loses_lines_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = LogWriter(writer)
    log.handle(record("nobody reads this"))
    log.flush()
    os.close(writer)
    assert log.dropped_lines == 1


def test_a_flush_does_not_wait_for_a_file_that_takes_nothing() -> None:
    reader, writer = os.pipe()
    log = LogWriter(writer)
    log.handle(record("a" * 200_000))
    log.flush(timeout_s=0.0)
    os.close(reader)  # ends the writer's wait
    log.flush(BOUND_S)
    os.close(writer)
    assert log.dropped_lines == 1


def test_lines_of_two_processes_on_one_pipe_are_not_mixed() -> None:
    """The reader is slow, so that what is written at once does not fit the pipe."""
    read_end, write_end = os.pipe()
    writers = [LogWriter(write_end) for _ in range(2)]
    with os.fdopen(read_end, "rb") as reader:
        for writer, letter in zip(writers, "ab", strict=True):
            for _ in range(600):
                writer.emit(logging.makeLogRecord({"msg": letter * 300}))
        found = [reader.readline().decode() for _ in range(1200)]
    assert {line[0] * 300 + "\n" for line in found} == set(found)
    os.close(write_end)
    assert sorted(line[0] for line in found) == ["a"] * 600 + ["b"] * 600
