"""Generate load on `POST /solve`, or another route, closed loop or open, the same for every server.

The generator shares the cores with the server, so it must be cheap: one process, uvloop, requests
prepared beforehand, and only status and length are read of an answer. Bodies are kept and compared
when the time is over.
"""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import uvloop

from bench.comparison.candidates import CandidateFailed

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_HEAD_END = b"\r\n\r\n"
NO_ANSWER = 0  # in place of a status: the connection was lost, or the time was over
_KEPT = 16  # of so many answers under load, one body is kept
_FOREVER_S = 600.0
_CONNECT_S = 10.0
_TICK_S = 0.001  # of uvloop's clock, whose timers may fire that much too early
_GRACE_S = 20.0  # for questions in flight at the end
_MOST_CONNECTIONS = 512  # beyond them questions wait, and their wait counts


class LoadError(CandidateFailed):
    """The server cannot be reached, or its answer is not HTTP with a length."""


@dataclass
class Answers:
    """The answers, with times in seconds since the start; a question was to be sent at `due`."""

    due_s: list[float] = field(default_factory=list)
    done_s: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)  # (number of the question, body)
    cpu_s: float = 0.0  # processor time of the load itself


class Asked:
    """Prepared requests, in order and then from the first again.

    `field` of each body has a question, and the `others` are the same in all.
    """

    def __init__(
        self,
        questions: Sequence[str],
        path: str = "/solve",
        field: str = "question",
        **others: object,
    ) -> None:
        self._requests = [_request(path, {field: one, **others}) for one in questions]
        self._numbers = cycle(range(len(questions)))

    def __len__(self) -> int:
        return len(self._requests)

    def next(self) -> tuple[int, bytes]:
        number = next(self._numbers)
        return number, self._requests[number]


def _request(path: str, content: dict[str, object]) -> bytes:
    body = json.dumps(content).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed_loop(port: int, asked: Asked, *, callers: int, seconds: float) -> Answers:
    """Return the answers that `callers` get in `seconds`. Raises `LoadError`."""
    return _run(port, asked, lambda load: load.closed(callers, seconds))


def once(port: int, asked: Asked, *, callers: int) -> Answers:
    """Send every question once, and keep all bodies. Raises `LoadError`."""
    return _run(port, asked, lambda load: load.closed(callers, _FOREVER_S, len(asked)), 1)


def open_loop(port: int, asked: Asked, due_s: Iterable[float]) -> Answers:
    """Send questions at the times `due_s`, and return the answers. Raises `LoadError`."""
    return _run(port, asked, lambda load: load.opened(due_s, _MOST_CONNECTIONS))


def _run(
    port: int,
    asked: Asked,
    work: Callable[[_Load], Coroutine[Any, Any, None]],
    kept: int = _KEPT,
) -> Answers:
    load = _Load(port, asked, kept)
    # A collection would search all that the bench has loaded; its pause would count as latency.
    gc.collect()
    gc.disable()
    started_s = time.process_time()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(work(load))
    finally:
        gc.enable()
    load.answers.cpu_s = time.process_time() - started_s
    return load.answers


class _Connection(asyncio.Protocol):
    """One request at a time; `answered` takes status and body, status 0 for a lost connection."""

    def __init__(self) -> None:
        self.answered: Callable[[int, bytes], None] | None = None
        self.open = False
        self._transport: Any = None
        self._come = bytearray()
        self._body_at = self._end = 0

    def ask(self, request: bytes, answered: Callable[[int, bytes], None]) -> None:
        self.answered = answered
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.open = True

    def data_received(self, data: bytes) -> None:
        self._come += data
        if not self._end and not self._read_head():
            return
        if len(self._come) < self._end:
            return
        status, body = int(self._come[9:12]), bytes(self._come[self._body_at : self._end])
        del self._come[: self._end]
        self._end = 0
        self._settle(status, body)

    def _read_head(self) -> bool:
        head_end = self._come.find(_HEAD_END)
        if head_end < 0:
            return False
        length = _LENGTH.search(self._come, 0, head_end)
        if length is None:
            raise LoadError(f"no length in {bytes(self._come[:head_end])!r}")
        self._body_at = head_end + len(_HEAD_END)
        self._end = self._body_at + int(length[1])
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._settle(NO_ANSWER, b"")

    def _settle(self, status: int, body: bytes) -> None:
        if self.answered is not None:
            answered, self.answered = self.answered, None
            answered(status, body)


class _Load:
    """One run of a closed or an open loop."""

    def __init__(self, port: int, asked: Asked, kept: int) -> None:
        self._port = port
        self._asked = asked
        self._kept = kept
        self._connections: list[_Connection] = []
        self._under_way = 0
        self._stopped = False
        self._left: int | None = None  # questions still to ask; None: until the time is over
        self._enough = asyncio.Event()
        self._over = asyncio.Event()
        self._started_s = 0.0
        self.answers = Answers()

    async def closed(self, callers: int, seconds: float, most: int | None = None) -> None:
        """Run a closed loop; `most` limits the number of questions."""
        self._left = most
        for _ in range(callers):
            await self._connect()
        self._started_s = time.perf_counter()
        for connection in self._connections:
            self._again(connection)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._enough.wait()
        await self._end()

    def _again(self, connection: _Connection) -> None:
        if self._left == 0 or not any(one.open for one in self._connections):
            self._enough.set()
        elif not self._stopped and connection.open:
            if self._left is not None:
                self._left -= 1
            self._ask(connection, self._now_s(), self._again)

    async def opened(self, due_s: Iterable[float], most: int) -> None:
        """Run an open loop over at most so many connections."""
        idle: list[_Connection] = []
        late: deque[float] = deque()  # due, but every connection is busy

        def free(connection: _Connection) -> None:
            if connection.open and late:
                self._ask(connection, late.popleft(), free)
            elif connection.open:
                idle.append(connection)

        self._started_s = time.perf_counter()
        for due in due_s:
            while (ahead_s := due - self._now_s()) > 0:
                await asyncio.sleep(max(ahead_s, _TICK_S))
            while idle and not idle[-1].open:  # servers close idle connections
                idle.pop()
            late.append(due)
            if idle:
                free(idle.pop())
            elif self._under_way < most:
                free(await self._connect())
        await self._end(late)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        except (OSError, TimeoutError) as error:
            raise LoadError(f"port {self._port}: {error or 'no connection'}") from error
        self._connections.append(connection)
        return connection

    def _now_s(self) -> float:
        return time.perf_counter() - self._started_s

    def _ask(
        self, connection: _Connection, due_s: float, then: Callable[[_Connection], None]
    ) -> None:
        number, request = self._asked.next()
        self._under_way += 1

        def answered(status: int, body: bytes) -> None:
            self._under_way -= 1
            self._note(due_s, status, number, body)
            then(connection)
            if self._stopped and not self._under_way:
                self._over.set()

        connection.ask(request, answered)

    def _note(self, due_s: float, status: int, number: int, body: bytes) -> None:
        found = self.answers
        found.due_s.append(due_s)
        found.done_s.append(self._now_s())
        found.statuses.append(status)
        if len(found.statuses) % self._kept == 0 and status != NO_ANSWER:
            found.bodies.append((number, body))

    async def _end(self, late: Iterable[float] = ()) -> None:
        """Wait for answers in flight; those that do not come in time count as failed."""
        self._stopped = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                while self._under_way:
                    await self._over.wait()
        for due_s in late:  # no connection was free for it
            self._note(due_s, NO_ANSWER, 0, b"")
        for connection in self._connections:
            connection.close()
        while self._under_way:  # their connections are lost now
            await self._over.wait()
