"""A turn of the event loop sends all that it has written together, connection by connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from service.turn_writes import HeldTransport, TurnWrites

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorded(asyncio.Transport):
    """Keeps what is written, even once closed, and notes it in `log`, which connections share.

    An exception would not fail a test: it would be raised in a callback of the event loop.
    """

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__()
        self._log = log
        self._name = name
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._log.append(self._name)
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 7


class Connections:
    """Two connections of one loop; `log` has the order of events."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.inner = [Recorded(self.log, "a"), Recorded(self.log, "b")]
        turn, loop = TurnWrites(), asyncio.get_running_loop()
        self.first, self.second = (HeldTransport(inner, loop, turn) for inner in self.inner)


def with_connections(scenario: Callable[[Connections], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario(Connections())

    asyncio.run(main())


async def turn() -> None:
    await asyncio.sleep(0)


def test_a_head_and_its_body_are_one_write() -> None:
    async def scenario(connections: Connections) -> None:
        for _ in range(2):
            connections.first.write(HEAD)
            connections.first.write(b"body")
            assert connections.inner[0].written == []
            await turn()
            assert connections.inner[0].written == [HEAD + b"body"]
            connections.inner[0].written.clear()
        await turn()
        assert connections.inner[0].written == []

    with_connections(scenario)


def test_answers_are_sent_one_right_after_the_other() -> None:
    """Before the work of the next turn, too."""

    async def scenario(connections: Connections) -> None:
        loop = asyncio.get_running_loop()

        def answer(transport: HeldTransport) -> None:
            connections.log.append("work")
            transport.write(HEAD)
            transport.write(b"body")
            loop.call_soon(connections.log.append, "more work")

        loop.call_soon(answer, connections.first)
        loop.call_soon(answer, connections.second)
        await turn()
        await turn()
        assert connections.log == ["work", "work", "a", "b", "more work", "more work"]

    with_connections(scenario)


def test_a_head_alone_is_sent_in_its_turn_and_its_body_later() -> None:
    async def scenario(connections: Connections) -> None:
        connections.first.write(HEAD)
        await turn()
        assert connections.inner[0].written == [HEAD]
        connections.first.write(b"body")
        await turn()
        assert connections.inner[0].written == [HEAD, b"body"]

    with_connections(scenario)


def test_no_more_is_held_than_a_transport_takes_without_a_pause() -> None:
    async def scenario(connections: Connections) -> None:
        piece = bytes(50_000)
        connections.first.write(piece)
        assert connections.inner[0].written == []
        connections.first.write(piece)
        assert connections.inner[0].written == [2 * piece]
        await turn()
        assert connections.inner[0].written == [2 * piece]

    with_connections(scenario)


def test_what_is_held_is_sent_before_the_connection_closes() -> None:
    async def scenario(connections: Connections) -> None:
        connections.first.write(HEAD)
        connections.first.close()
        inner = connections.inner[0]
        assert (inner.written, inner.closed) == ([HEAD], True)
        assert connections.first.is_closing()
        await turn()
        assert inner.written == [HEAD]

    with_connections(scenario)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_connection_that_is_lost_gets_nothing_more_and_the_others_all(lost: int) -> None:
    async def scenario(connections: Connections) -> None:
        connections.first.write(HEAD)
        connections.second.write(HEAD)
        connections.inner[lost].close()
        await turn()
        assert connections.inner[lost].written == []
        assert connections.inner[1 - lost].written == [HEAD]

    with_connections(scenario)


def test_all_else_is_the_transports_own() -> None:
    async def scenario(connections: Connections) -> None:
        assert connections.first.get_write_buffer_size() == 7

    with_connections(scenario)
