"""A caller on a socket of its own: fast enough to be many, and as rude as a test wants it."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.faults.server import LONG_S


class NoAnswer(Exception):
    """The connection ended, or never began, without an answer."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One connection, kept alive where the server keeps it; HTTP/1.1 as far as the service
    speaks it.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    @property
    def local_port(self) -> int:
        """The port of its side of the connection."""
        assert self.writer is not None, "nothing was sent"
        port: int = self.writer.get_extra_info("sockname")[1]
        return port

    async def ask(self, path: str, body: object, **headers: str) -> Answer:
        """Raises `NoAnswer`."""
        return await self.send(request(path, encoded(body), **headers))

    async def get(self, path: str) -> Answer:
        return await self.send(f"GET {path} HTTP/1.1\r\nhost: test\r\n\r\n".encode())

    async def send(self, raw: bytes) -> Answer:
        """Send these bytes and return the response."""
        try:
            async with asyncio.timeout(LONG_S):
                await self.write(raw)
                return await self.answer()
        except (ConnectionError, EOFError) as error:
            self.leave()
            raise NoAnswer from error

    async def write(self, raw: bytes) -> None:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self) -> Answer:
        assert self.reader is not None, "nothing was sent"
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join([piece async for piece in self._chunks()])
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            self.leave()
        return Answer(int(first.split()[1]), headers, body)

    async def _chunks(self) -> AsyncIterator[bytes]:
        assert self.reader is not None, "nothing was sent"
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    def leave(self) -> None:
        """Close without a word."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


@asynccontextmanager
async def callers(port: int, count: int) -> AsyncIterator[list[Caller]]:
    """So many, gone at the end."""
    many = [Caller(port) for _ in range(count)]
    try:
        yield many
    finally:
        for caller in many:
            caller.leave()


def encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def request(path: str, body: bytes, **headers: str) -> bytes:
    given = {"host": "test", "content-type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def questions(seed: int = 0) -> Iterator[str]:
    """Equations without end, so many kinds that hardly two are alike; each has a whole solution."""
    source = random.Random(seed)
    while True:
        a, x, b = source.randint(2, 60), source.randint(-60, 60), source.randint(-999, 999)
        sign = "-" if b < 0 else "+"
        yield f"{a}*c {sign} {abs(b)} = {a * x + b}"
