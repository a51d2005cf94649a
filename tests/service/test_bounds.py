"""Limits on what one client can make the server hold, on real sockets: heads, bodies, time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from service.protocol import MAX_HEAD_BYTES, MAX_HEADERS, MAX_PIPELINED
from tests.service.sockets import BOUND_S, Reply, Wire, listen

HEAD = b"POST /solve HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
BODY = b'{"question": "x = 1"}'
SHORT_S = 0.05  # long enough for what is sent at once, on any machine that runs tests


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nhost: " + b"a" * MAX_HEAD_BYTES,
        b"GET /" + b"a" * MAX_HEAD_BYTES,
        b"GET /livez HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
    ],
    ids=["one long header", "a long path", "many headers"],
)
def test_a_head_that_is_too_large_is_431(bundle: Path, head: bytes) -> None:
    async def scenario(wire: Wire) -> None:
        assert Reply.read(await wire.exchange(head)).problem()["status"] == 431

    listen(bundle, scenario)


def test_a_head_within_the_bounds_is_read_however_it_is_cut(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        head = b"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx: " + b"a" * (
            MAX_HEAD_BYTES // 2
        )
        for start in range(0, len(head), 5000):
            writer.write(head[start : start + 5000])
            await writer.drain()
        writer.write(b"\r\n\r\n")
        assert Reply.read(await reader.read()).status == 200
        writer.close()

    listen(bundle, scenario)


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /livez HTTP/1.1\r\nhost: te"])
def test_a_head_that_does_not_arrive_ends_the_connection(bundle: Path, sent: bytes) -> None:
    """The same holds after an earlier answer. A client that began no request gets no response."""

    async def scenario(wire: Wire) -> None:
        assert_late(await wire.exchange(sent))
        asked = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n"
        if sent:
            reader, writer = await wire.connect()
            writer.write(asked)
            await reader.readuntil(b'{"status":"live"}')
            writer.write(sent)
            assert_late(await reader.read())
            writer.close()

    def assert_late(received: bytes) -> None:
        if sent:
            Reply.read(received).problem()
            assert received.startswith(b"HTTP/1.1 408 ")
        else:
            assert received == b""

    listen(bundle, scenario, receive_timeout_s=SHORT_S)


def test_a_head_that_trickles_in_is_not_waited_for(bundle: Path) -> None:
    """Slowloris: every byte comes in time, the whole never does."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        answer = asyncio.create_task(reader.read())
        writer.write(b"GET /livez HTTP/1.1\r\nx: ")
        async with asyncio.timeout(BOUND_S):
            while not answer.done():
                writer.write(b"a")
                await asyncio.sleep(SHORT_S / 10)
        with suppress(ConnectionResetError):  # a byte that came after the end can take it away
            assert (await answer).startswith(b"HTTP/1.1 408 ")
        writer.close()

    listen(bundle, scenario, receive_timeout_s=SHORT_S)


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"content-length: 21\r\n\r\n",
        HEAD + b"content-length: 21\r\n\r\n" + BODY[:-1],
        HEAD + b"transfer-encoding: chunked\r\n\r\n15\r\n" + BODY + b"\r\n",
    ],
    ids=["none of it", "most of it", "chunks without an end"],
)
def test_a_body_that_does_not_arrive_is_408(bundle: Path, sent: bytes) -> None:
    async def scenario(wire: Wire) -> None:
        reply = Reply.read(await wire.exchange(sent))
        assert reply.problem()["detail"] == "the body took over 0.05 s to arrive"
        assert (reply.status, reply.headers["connection"]) == (408, "close")
        assert "x-request-id" in reply.headers

    listen(bundle, scenario, receive_timeout_s=SHORT_S)


def test_a_body_announced_too_large_is_refused_unread(bundle: Path) -> None:
    """And no 100 invites a caller who asks before it sends."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(HEAD + b"content-length: 1000\r\nexpect: 100-continue\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()

    listen(bundle, scenario, max_body_bytes=999)


def test_a_body_that_grows_too_large_is_refused(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"64\r\n%b\r\n" % (b"a" * 100))
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()

    listen(bundle, scenario, max_body_bytes=99)


def test_a_client_that_continues_a_rejected_body_is_cut_off(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        received = await wire.exchange(HEAD + b"content-length: 1000\r\n\r\n" + b"a" * 500)
        assert Reply.read(received).status == 413  # once, and then the end

    listen(bundle, scenario, max_body_bytes=999, receive_timeout_s=SHORT_S)


def test_a_body_in_time_is_answered_and_the_connection_lives_on(bundle: Path) -> None:
    """Longer than the bound: it is for what arrives, not for who waits for an answer."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        for _ in range(3):
            writer.write(HEAD + b"content-length: 21\r\n\r\n" + BODY)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    listen(bundle, scenario)


def test_requests_in_line_on_one_connection_are_bounded(bundle: Path) -> None:
    """They wait for the first, and each would take memory that no queue counts."""

    async def scenario(wire: Wire) -> None:
        request = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n"
        few = await wire.exchange(
            request * 3 + b"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"
        )
        assert few.count(b"HTTP/1.1 200 ") == 4
        many = await wire.exchange(request * 10 * MAX_PIPELINED)
        assert many.count(b"HTTP/1.1 200 ") <= MAX_PIPELINED + 1

    listen(bundle, scenario)
