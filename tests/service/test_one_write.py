"""A head and the body that follows it are one write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.one_write import OneWrite

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n"


class Recorded(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 7


def with_transport(scenario: Callable[[OneWrite, Recorded], Awaitable[None]]) -> None:
    async def main() -> None:
        inner = Recorded()
        await scenario(OneWrite(inner, asyncio.get_running_loop()), inner)

    asyncio.run(main())


async def turn() -> None:
    await asyncio.sleep(0)


def test_a_head_waits_for_its_body() -> None:
    async def scenario(transport: OneWrite, inner: Recorded) -> None:
        for _ in range(2):
            transport.write(HEAD)
            assert inner.written == []
            transport.write(b"body")
            assert inner.written == [HEAD + b"body"]
            inner.written.clear()
        await turn()
        assert inner.written == []

    with_transport(scenario)


def test_a_head_alone_is_sent_in_the_next_turn_and_its_body_later() -> None:
    async def scenario(transport: OneWrite, inner: Recorded) -> None:
        transport.write(HEAD)
        await turn()
        assert inner.written == [HEAD]
        transport.write(b"body")
        assert inner.written == [HEAD, b"body"]

    with_transport(scenario)


def test_a_head_is_sent_before_the_connection_closes() -> None:
    async def scenario(transport: OneWrite, inner: Recorded) -> None:
        transport.write(HEAD)
        transport.close()
        assert (inner.written, inner.closed) == ([HEAD], True)
        assert transport.is_closing()
        await turn()

    with_transport(scenario)


def test_a_connection_that_is_lost_gets_nothing_more() -> None:
    async def scenario(transport: OneWrite, inner: Recorded) -> None:
        transport.write(HEAD)
        inner.close()
        await turn()
        assert inner.written == []

    with_transport(scenario)


def test_all_else_is_the_transports_own() -> None:
    async def scenario(transport: OneWrite, inner: Recorded) -> None:
        assert transport.get_write_buffer_size() == 7
        transport.write(b"5\r\nevent\r\n")
        assert inner.written == [b"5\r\nevent\r\n"]

    with_transport(scenario)
