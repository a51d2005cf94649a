"""Callers that take their time: they hold up nobody, and not the end of the service."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.faults.caller import Caller, callers, encoded, questions, request
from tests.faults.server import Server, serving, until

MANY = 50
QUESTION = request("/solve", encoded({"question": "x + 1 = 3"}))


async def all_answered(port: int) -> None:
    async with callers(port, 8) as many:
        asked = zip(many, questions(), strict=False)
        answers = await asyncio.gather(
            *(caller.ask("/solve", {"question": question}) for caller, question in asked)
        )
        assert {answer.status for answer in answers} == {200}


async def piece_by_piece(caller: Caller, raw: bytes, port: int) -> None:
    """In ten pieces, with other callers answered between them."""
    step = -(-len(raw) // 10)
    for start in range(0, len(raw), step):
        await caller.write(raw[start : start + step])
        if start == 5 * step:
            await all_answered(port)


def test_slow_clients_are_answered_and_delay_no_other_client(tmp_path: Path) -> None:
    async def scenario(server: Server) -> None:
        async with callers(server.port, MANY) as many:
            await asyncio.gather(
                *(piece_by_piece(caller, QUESTION, server.port) for caller in many)
            )
            await all_answered(server.port)  # while none of those reads
            for caller in many:
                assert (await caller.answer()).json()["answer"] == "2"
            body = encoded({"text": "4*c + 7 = 15", "stream": True})
            for caller in many:
                await caller.write(request("/generate", body))
            await all_answered(server.port)
            for caller in many:
                assert await one_byte_after_the_other(caller)

    with serving(tmp_path, workers=1) as server:
        handles = server.handles()
        asyncio.run(scenario(server))
        until(lambda: server.handles() <= handles, "their sockets closed")
        assert "Traceback" not in server.log


async def one_byte_after_the_other(caller: Caller) -> bool:
    """Return whether the stream ends."""
    assert caller.reader is not None
    read = b""
    while not read.endswith(b"0\r\n\r\n"):
        read += await caller.reader.readexactly(1)
    return b"event: done" in read


def test_an_unfinished_request_does_not_delay_the_shutdown(tmp_path: Path) -> None:
    """Neither heads nor bodies that are not whole; the bodies are told so."""

    async def scenario(server: Server) -> None:
        async with callers(server.port, 2 * MANY) as many:
            for caller in many[:MANY]:
                await caller.write(QUESTION[:20])
            for caller in many[MANY:]:
                await caller.write(QUESTION[:-1])
            series = "in_flight_requests"
            await asyncio.to_thread(until, lambda: server.metric(series) == MANY + 1, "the bodies")
            server.process.terminate()
            await asyncio.to_thread(server.ended)
            for caller in many[:MANY]:
                with pytest.raises((ConnectionError, EOFError)):
                    await caller.answer()
            for caller in many[MANY:]:
                assert (await caller.answer()).status == 503

    with serving(tmp_path, workers=1) as server:
        asyncio.run(scenario(server))
        assert server.ended() == -signal.SIGTERM
        assert "Traceback" not in server.log


def test_a_request_that_never_ends_gets_408_and_its_connection_is_closed(tmp_path: Path) -> None:
    """Slowloris, by the hundred: no connection is kept for longer than the bound."""

    async def scenario(server: Server) -> None:
        async with callers(server.port, 4 * MANY) as many:
            for caller in many[: 2 * MANY]:
                await caller.write(QUESTION[:20])
            for caller in many[2 * MANY :]:
                await caller.write(QUESTION[:-1])
            await all_answered(server.port)
            for caller in many:
                assert (await caller.answer()).status == 408

    with serving(tmp_path, workers=1, receive_timeout_s=1.0) as server:
        handles = server.handles()
        asyncio.run(scenario(server))
        until(lambda: server.handles() <= handles, "their sockets closed")
        assert "Traceback" not in server.log
