"""The application around a fake engine, behind its real server and a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from service.server import ListeningServer
from tests.service.app import application, becomes_ready

BOUND_S = 30.0  # for a broken server to fail a test


@dataclass(frozen=True)
class Reply:
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def read(cls, raw: bytes) -> Reply:
        head, _, body = raw.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        assert len(headers) == len(lines), "a header twice"
        return cls(int(status_line.split()[1]), headers, body)

    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        return problem


class Wire:
    """Bytes to and from a server on `port` of this machine; `metrics` are on another, or None."""

    def __init__(self, port: int, metrics: Wire | None = None) -> None:
        self.port = port
        self.metrics = metrics

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, sent: bytes) -> bytes:
        """Return all bytes until the server closes the connection."""
        reader, writer = await self.connect()
        writer.write(sent)
        async with asyncio.timeout(BOUND_S):
            received = await reader.read()
        writer.close()
        return received

    async def ask(self, path: str, body: bytes = b"", *headers: str, method: str = "POST") -> Reply:
        """One request on a connection of its own."""
        lines = [
            f"{method} {path} HTTP/1.1",
            "host: test",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
            *headers,
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        return Reply.read(await self.exchange(head + body))


def listen(bundle: Path, scenario: Callable[[Wire], Awaitable[None]], **knobs: Any) -> None:
    """Run `scenario` against the application's own server on a free port."""
    app = application(bundle, port=0, **knobs)

    async def main() -> None:
        server = ListeningServer(app, app.state.runtime)
        serving = asyncio.create_task(server.serve())
        try:
            while not all(each.started for each in (server, server.metrics) if each):
                assert not serving.done()
                await asyncio.sleep(0.001)
            await becomes_ready(app)
            metrics = Wire(_port(server.metrics)) if server.metrics else None
            await scenario(Wire(_port(server), metrics))
        finally:
            server.should_exit = True
            await serving

    asyncio.run(main())


def _port(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
