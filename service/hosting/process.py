"""An engine in a process of its own: what it does to itself, it does to nobody else.

It has its own interpreter, so that decoding and HTTP do not wait for each other; it can be killed
when it hangs, and when it crashes the service lives on and starts another.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

from service.contracts import Order, Report, Started
from service.errors import EngineFailed, EngineRefused
from service.hosting.frames import Unpacking, packed
from service.hosting.plan import EnginePlan

_LAST_STEP_S = 5.0


class ProcessHost:
    """Implements `service.contracts.Host` for the engine that `plan` describes."""

    def __init__(self, plan: EnginePlan) -> None:
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: _Channel | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def live_pid(self) -> int | None:
        """None once the process was reaped: another may have its id by then."""
        return self.pid if self._process and self._process.returncode is None else None

    async def start(self, told: Callable[[Report], None]) -> Started:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                [
                    sys.executable,
                    "-m",
                    "service.hosting",
                    self._plan.to_json(),
                    str(theirs.fileno()),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        loop = asyncio.get_running_loop()
        _, self._channel = await loop.create_connection(lambda: _Channel(told), sock=ours)
        first = await self._channel.first
        if isinstance(first, Started):
            return first
        await self._reap()
        if isinstance(first, EngineRefused):
            raise first
        raise EngineFailed

    def order(self, orders: Sequence[Order]) -> None:
        if self._channel is not None:
            self._channel.send(orders)

    async def ended(self) -> None:
        if self._channel is not None:
            await self._channel.lost
            await self._reap()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def close(self) -> None:
        """The end of the socket is what the process takes as its end."""
        if self._channel is not None:
            self._channel.close()
        await self._reap()

    async def _reap(self) -> None:
        """No process is left behind, neither running nor as a zombie."""
        if self._process is None:
            return
        try:
            await asyncio.to_thread(self._process.wait, _LAST_STEP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


class _Channel(asyncio.Protocol):
    """The service's end of the socket."""

    def __init__(self, told: Callable[[Report], None]) -> None:
        loop = asyncio.get_running_loop()
        self.first: asyncio.Future[Any] = loop.create_future()  # None where it ended before
        self.lost: asyncio.Future[None] = loop.create_future()
        self._told = told
        self._unpacking = Unpacking()
        self._transport: asyncio.WriteTransport | None = None

    def send(self, message: object) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packed(message))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        for message in self._unpacking.feed(data):
            if not self.first.done():
                self.first.set_result(message)
            elif not self.first.cancelled():  # or else nobody waits for this engine
                self._told(message)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.first, self.lost):
            with suppress(asyncio.InvalidStateError):
                future.set_result(None)
