"""The HTTP server of one process: connections and orders come from the supervisor."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from service.draining import DrainingServer
from service.runtime import Runtime
from service.shards.handover import handed_over
from service.shards.link import Link
from service.shards.messages import (
    Announce,
    Collect,
    Connections,
    Drained,
    NoMoreConnections,
    Order,
    Report,
    Served,
    ShutDown,
)

_LOOK_S = 0.1  # between two checks whether readiness or connections have changed
_REPORT_S = 1.0  # the longest between two reports


class ShardServer(DrainingServer):
    """Serve the connections that arrive on `way`, and drain on an order of the supervisor.

    When the supervisor ends without one, this process ends at once, as its port is gone.
    """

    def __init__(self, app: FastAPI, runtime: Runtime, link: Link, way: socket.socket) -> None:
        super().__init__(app, runtime)
        self._link = link
        self._way = way
        self._received = 0
        self._accepting: set[asyncio.Task[None]] = set()
        self._no_more_connections = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are for the supervisor

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        orphaned = await self._link.open(self._obey)
        reporting = asyncio.create_task(self._keep_reporting(), name="reports")
        serving = asyncio.create_task(super().serve([]), name="server")
        await asyncio.wait([serving, orphaned], return_when=asyncio.FIRST_COMPLETED)
        reporting.cancel()
        if serving.done():
            await serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._way, self._take_over)

    def _take_over(self) -> None:
        for connection in handed_over(self._way):
            self._received += 1
            task = asyncio.create_task(self._begin(connection))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._accept(connection)
        except OSError:  # its client disconnected on the way
            connection.close()

    async def _stop_listening(self) -> None:
        """Wait until all processes are drained and the supervisor has closed the listeners.

        Until then new connections come, and are answered with 503.
        """
        self._link.send(Drained())
        await self._no_more_connections.wait()
        self._take_over()  # those of the backlog
        asyncio.get_running_loop().remove_reader(self._way)
        await asyncio.gather(*self._accepting)

    # -- orders and reports ------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        if isinstance(order, Collect):
            self._report(order.number)
        elif isinstance(order, Announce):
            self.announce()
        elif isinstance(order, ShutDown):
            # Now, not at the next tick: the other processes and `/readyz` refuse already.
            self._announce_shutdown()
            self._runtime.admission.refuse_requests()
            self.should_exit, self.force_exit = True, self.should_exit
        elif isinstance(order, NoMoreConnections):
            self._no_more_connections.set()

    async def _keep_reporting(self) -> None:
        loop = asyncio.get_running_loop()
        every_s = min(_REPORT_S, self._runtime.settings.hang_timeout_s / 4)
        told_ready, told, due_s = None, Connections(0, 0), 0.0
        while True:
            if self.started and self._runtime.ready != told_ready:
                told_ready, due_s = self._runtime.ready, 0.0
                self._link.send(Served(self._runtime.info()))
            if self.started and loop.time() >= due_s:
                due_s = loop.time() + every_s
                self._report()
            now = Connections(len(self.server_state.connections), self._received)
            if now != told:
                told = now
                self._link.send(now)
            await asyncio.sleep(min(_LOOK_S, every_s))

    def _report(self, number: int | None = None) -> None:
        self._link.send(Report(self._runtime.ready, self._runtime.metrics.families(), number))
