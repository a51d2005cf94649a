"""Connections: accepted in one process, served in another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest

from service.listening import bound_sockets
from service.shards.front import Front
from service.shards.handover import hand_over, handed_over, pair

BOUND_S = 30.0


class Process:
    """Takes connections, and greets each with its name."""

    def __init__(self, name: bytes, *, takes: bool = True) -> None:
        self._name = name
        self._takes = takes
        self._held: list[socket.socket] = []

    @property
    def connections(self) -> float:
        return len(self._held)

    def hand_over(self, connection: socket.socket) -> bool:
        if self._takes:
            connection.send(self._name)
            self._held.append(connection.dup())
        return self._takes

    def end(self) -> None:
        while self._held:
            self._held.pop().close()


class Door:
    """A front on a free port, and its clients."""

    def __init__(self, takers: Callable[[], Sequence[Process]]) -> None:
        (listener,) = bound_sockets("127.0.0.1", 0, "CYBERSOLVE_PORT")
        self._address = listener.getsockname()
        self.front = Front([listener], takers)

    async def knock(self) -> bytes:
        """Return who answers; nothing if the connection is closed or reset."""
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(BOUND_S):
                return await reader.read(1)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._address)


def test_each_connection_goes_to_the_process_that_has_the_fewest() -> None:
    async def scenario() -> None:
        one, two = Process(b"1"), Process(b"2")
        door = Door(lambda: [one, two])
        door.front.open()
        assert sorted([await door.knock() for _ in range(6)]) == [*3 * [b"1"], *3 * [b"2"]]
        two.end()
        assert [await door.knock() for _ in range(3)] == [b"2"] * 3
        door.front.close()
        one.end()
        two.end()

    asyncio.run(scenario())


def test_a_process_that_takes_none_is_passed_over() -> None:
    async def scenario() -> None:
        full, other = Process(b"1", takes=False), Process(b"2")
        door = Door(lambda: [full, other])
        door.front.open()
        assert [await door.knock() for _ in range(2)] == [b"2"] * 2
        door.front.close()
        other.end()

    asyncio.run(scenario())


def test_while_no_process_is_up_connections_wait() -> None:
    async def scenario() -> None:
        up: list[Process] = [Process(b"1")]
        door = Door(lambda: up)
        door.front.open()
        process = up.pop()
        waiting = asyncio.create_task(door.knock())
        _, writer = await door.connect()  # accepted by the kernel after the first
        up.append(process)
        door.front.open()
        assert await waiting == b"1"
        writer.close()
        door.front.close()
        process.end()

    asyncio.run(scenario())


def test_connections_in_the_backlog_are_handed_over_at_the_end() -> None:
    async def scenario() -> None:
        process = Process(b"1")
        up: list[Process] = []
        door = Door(lambda: up)
        door.front.open()
        waiting = [await door.connect() for _ in range(3)]
        up.append(process)
        door.front.close()
        for reader, writer in waiting:
            assert await reader.read(1) == b"1"
            writer.close()
        with pytest.raises(ConnectionRefusedError):
            await door.connect()
        process.end()

    asyncio.run(scenario())


def test_a_connection_crosses_with_its_bytes() -> None:
    here, there = pair()
    client, server = socket.socketpair()
    with here, there, client:
        assert list(handed_over(there)) == []
        client.send(b"early")
        assert hand_over(here, server)
        server.close()
        (taken,) = handed_over(there)
        with taken:
            assert taken.recv(5) == b"early"
            client.send(b"late")
            assert taken.recv(4) == b"late"


def test_a_process_that_takes_nothing_or_is_gone_is_full() -> None:
    here, there = pair()
    client, server = socket.socketpair()
    with here, client, server:
        sent = 0
        while hand_over(here, server):
            sent += 1
            assert sent < 100_000
        assert sent > 10
        there.close()
        assert not hand_over(here, server)
