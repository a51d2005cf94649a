"""Host an engine in a process of its own.

The process has its own interpreter, so decoding and HTTP do not wait for each other. It can be
killed when it hangs. When it crashes, the service continues and starts another.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from service.children import command_of
from service.contracts import EngineExit, Order, Report, Started
from service.errors import EngineNotStarted, EngineRefused
from service.hosting.channel import Channel
from service.hosting.out_of_memory import OutOfMemoryKills
from service.hosting.plan import EnginePlan
from service.hosting.reserve import HandleReserve

_LAST_STEP_S = 5.0
_LOOK_S = 0.005  # between two checks for the exit of a process that closed its socket


class ProcessHost:
    """Implement `service.contracts.Host` for the engine that `plan` describes.

    From the first start on, the file handles that a restart needs are held in reserve.
    `out_of_memory` is shared by all hosts of the service. With `one_attempt`, a start that fails
    raises `EngineRefused`, so that the supervisor does not try again: for commands that a user
    waits for.
    """

    def __init__(
        self,
        plan: EnginePlan,
        out_of_memory: OutOfMemoryKills | None = None,
        *,
        one_attempt: bool = False,
    ) -> None:
        self._plan = plan
        self._out_of_memory = out_of_memory
        self._one_attempt = one_attempt
        self._attempted = False
        self._reserve = HandleReserve()
        self._killed = False  # by this host
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def live_pid(self) -> int | None:
        """Return None once the process is reaped, because another may have its id by then."""
        return self.pid if self._process and self._process.returncode is None else None

    async def start(self, on_report: Callable[[Report], None]) -> Started:
        if self._one_attempt and self._attempted:
            raise EngineRefused("the engine did not start in time")
        self._attempted = True
        self._channel = None
        with self._reserve.released():
            ours = self._spawn()
        first = await self._first_message(ours, on_report)
        if isinstance(first, Started):
            self._attempted = False
            return first
        end = await self._reap()
        if isinstance(first, EngineRefused):
            raise first
        if self._one_attempt:
            raise EngineRefused(f"the engine ended before it was ready: {end}")
        raise EngineNotStarted(str(end))

    async def _first_message(
        self, ours: socket.socket, on_report: Callable[[Report], None]
    ) -> Started | EngineRefused | None:
        """Return what the process says first, `None` if it ends before; pass on what follows."""
        first: asyncio.Future[Started | EngineRefused | None]
        first = asyncio.get_running_loop().create_future()

        def on_message(message: Any) -> None:
            if not first.done():
                first.set_result(message)
            elif not first.cancelled():  # else no caller waits for this engine
                on_report(message)

        def on_end(_: asyncio.Future[None]) -> None:
            with suppress(asyncio.InvalidStateError):
                first.set_result(None)

        self._channel = await Channel.over(ours, on_message)
        self._channel.lost.add_done_callback(on_end)
        return await first

    def _spawn(self) -> socket.socket:
        """Start the process and return the service's end of the socket to it."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603  # our own program
                    command_of("service.hosting", self._plan.to_json(), str(theirs.fileno())),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
        except BaseException:
            ours.close()
            raise
        self._killed = False
        return ours

    def order(self, orders: Sequence[Order]) -> None:
        if self._channel is not None:
            self._channel.send(orders)

    async def ended(self) -> EngineExit:
        if self._channel is not None:
            await asyncio.shield(self._channel.lost)
        return await self._reap()

    def kill(self) -> None:
        if self._process is not None:
            self._killed = True
            self._process.kill()

    async def close(self) -> None:
        """Close the socket, which ends the process."""
        if self._channel is not None:
            self._channel.close()
        await self._reap()
        self._reserve.close()

    async def _reap(self) -> EngineExit:
        """Return once the process has ended and is reaped.

        The process is polled, because waiting needs a thread, and the machine may be out of
        threads.
        """
        if self._process is None:
            return EngineExit()
        loop = asyncio.get_running_loop()
        kill_at_s = loop.time() + _LAST_STEP_S
        while (status := self._process.poll()) is None:
            if loop.time() >= kill_at_s:
                self.kill()
            await asyncio.sleep(_LOOK_S)
        foreign_kill = status == -signal.SIGKILL and not self._killed
        oom = foreign_kill and self._out_of_memory is not None and self._out_of_memory.attribute()
        return EngineExit(self._process.pid, status, out_of_memory=oom)
