"""Callers that leave, at every moment there is, by the hundred: they leave nothing behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.caller import Caller, callers, encoded, questions, request
from tests.faults.server import Server, serving, until

MANY = 100  # of each kind
ROWS = 4
LEFT = 'abandoned_total{reason="left"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve with one engine of few rows, so that a queue is soon there."""
    folder = tmp_path_factory.mktemp("leaving")
    with serving(folder, workers=1, max_batch_rows=ROWS) as running:
        running.solve("x + 1 = 3")
        yield running


async def unasked(_: Server, many: list[Caller]) -> None:
    for caller in many:
        await caller.write(b"")


async def in_the_head(_: Server, many: list[Caller]) -> None:
    for caller in many:
        await caller.write(b"POST /solve HTTP/1.1\r\nhost: te")


async def in_the_body(_: Server, many: list[Caller]) -> None:
    for caller in many:
        await caller.write(request("/solve", encoded({"question": "x + 1 = 3"}))[:-5])


async def waiting(server: Server, many: list[Caller]) -> None:
    """The engine stands still; some are in it, the rest in the queue."""
    for caller, question in zip(many, questions(), strict=False):
        await caller.write(request("/solve", encoded({"question": question})))
    await reaches(server, "queue_depth", len(many) - ROWS - ROWS // 4)


async def waiting_in_batches(server: Server, many: list[Caller]) -> None:
    source = questions(1)
    for caller in many:
        body = {"questions": list(islice(source, 4))}
        await caller.write(request("/solve/batch", encoded(body)))
    await reaches(server, "queue_depth", 4 * len(many) - ROWS - ROWS // 4)


async def waiting_for_a_stream(server: Server, many: list[Caller]) -> None:
    for number, caller in enumerate(many):
        body = {"text": f"{number}", "stream": True}
        await caller.write(request("/generate", encoded(body)))
    await reaches(server, "queue_depth", len(many) - ROWS - ROWS // 4)


async def reaches(server: Server, series: str, value: float) -> None:
    await asyncio.to_thread(until, lambda: server.metric(series) == value, f"{series} {value}")


Moment = Callable[[Server, list[Caller]], Awaitable[None]]
MOMENTS: dict[Moment, int] = {  # how many questions of each caller were accepted by then
    unasked: 0,
    in_the_head: 0,
    in_the_body: 0,
    waiting: 1,
    waiting_in_batches: 4,
    waiting_for_a_stream: 1,
}


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("how", ["closed", "reset"])
def test_a_disconnect_leaves_nothing_behind(server: Server, moment: Moment, how: str) -> None:
    handles, left = server.handles(), server.metric(LEFT)

    async def scenario() -> None:
        async with callers(server.port, MANY) as many:
            await moment(server, many)
            for caller in many:
                if how == "reset":
                    reset_at_end(caller)
                caller.leave()
            accepted = MOMENTS[moment] * MANY
            await reaches(server, LEFT, left + accepted)

    server.signal_engines(signal.SIGSTOP)
    try:
        asyncio.run(scenario())
        assert server.metric("queue_depth") == 0
    finally:
        server.signal_engines(signal.SIGCONT)
    assert server.solve("x + 1 = 3").json()["answer"] == "2"
    until(lambda: server.metric("in_flight_requests") == 1, "nothing in flight but this")
    until(lambda: server.handles() <= handles, "their sockets closed")


def reset_at_end(caller: Caller) -> None:
    """To close is to reset: no end of the stream, an error."""
    assert caller.writer is not None
    plain: socket.socket = caller.writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_disconnect_while_decoding_frees_the_row(server: Server) -> None:
    """Streams and answers that are on their way, left at whatever step they are."""
    handles = server.handles()

    async def scenario() -> None:
        async with callers(server.port, 2 * MANY) as many:
            streams, answers = many[:MANY], many[MANY:]
            for number, caller in enumerate(streams):
                await caller.write(request("/generate", encoded(streamed(number))))
            for caller, question in zip(answers, questions(2), strict=False):
                await caller.write(request("/solve", encoded({"question": question})))
            for caller in streams[: MANY // 2]:
                await first_piece(caller)
                caller.leave()
            for caller in answers[: MANY // 2]:
                caller.leave()
            for caller in streams[MANY // 2 :]:
                assert b"event: done" in (await caller.answer()).body
            for caller in answers[MANY // 2 :]:
                assert (await caller.answer()).status == 200

    asyncio.run(scenario())
    assert server.metric("queue_depth") == 0
    until(lambda: server.metric("in_flight_requests") == 1, "nothing in flight but this")
    until(lambda: server.handles() <= handles, "their sockets closed")
    assert "Traceback" not in server.log


def streamed(number: int) -> dict[str, object]:
    return {"text": f"{number} + {number}", "stream": True}


async def first_piece(caller: Caller) -> None:
    assert caller.reader is not None
    await caller.reader.readuntil(b"data: ")


def test_disconnects_log_no_traceback(server: Server, tmp_path: Path) -> None:
    assert "Traceback" not in server.log
    assert "ERROR" not in server.log
