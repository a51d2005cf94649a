"""The service of several HTTP processes: what it reports as a whole, and its start and end."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any

from prometheus_client import Metric

from service.app import create_metrics_app
from service.draining import LAST_ANSWERS_S, LINGER_S, config_of
from service.errors import NotReady, ShuttingDown
from service.hosting.out_of_memory import OutOfMemoryKills
from service.listening import bound_sockets
from service.logs import flush_log
from service.metrics import Metrics
from service.protocol import ConnectionBounds
from service.server import MetricsServer
from service.settings import Settings
from service.shards import totals
from service.shards.front import Front
from service.shards.messages import (
    AllReady,
    Announce,
    Exposition,
    NoMoreConnections,
    Order,
    ShutDown,
)
from service.shards.share import shares
from service.shards.supervisor import ShardSupervisor

_ENGINES_S = 5.0  # for engines that do not respond at the end of a drain
_SLACK_S = 1.0
_LOOK_S = 0.5  # between two checks whether a process has fallen silent


class ShardedService:
    """Serve with the processes of `settings`, as one service: one port, one state, one end.

    The ports are bound at once. Raises `SettingsError` when one cannot be bound.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shares = shares(settings)
        self._sockets = bound_sockets(settings.host, settings.port, "CYBERSOLVE_PORT")
        self._metrics_sockets: list[socket.socket] = []
        if settings.metrics_port is not None:
            self._metrics_sockets = bound_sockets(
                settings.host, settings.metrics_port, "CYBERSOLVE_METRICS_PORT"
            )
        self._metrics = Metrics()
        self._metrics.http_processes.set(0)  # the supervisor serves nothing itself
        self._ended: list[Metric] = []  # what processes have counted that ended
        self._told_ready = self._closing = False
        self._signals: list[signal.Signals] = []
        self._shards: list[ShardSupervisor] = []
        self._answers: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until a signal. Raises `EngineRefused`, and the signal again once all has ended."""
        asyncio.run(self._run())
        flush_log()
        if self._signals and self._signals[-1] != signal.SIGINT:  # Ctrl-C is an ordinary end
            signal.signal(self._signals[-1], signal.SIG_DFL)
            signal.raise_signal(self._signals[-1])

    async def _run(self) -> None:
        out_of_memory = OutOfMemoryKills()
        self._shards = [ShardSupervisor(share, self, out_of_memory) for share in self._shares]
        self._front = Front(self._sockets, self._takers)
        self._signalled = asyncio.Event()
        self._handle_signals()
        metrics = self._metrics_server()
        running = [asyncio.create_task(shard.run()) for shard in self._shards]
        ticking = asyncio.create_task(self._keep_looking())
        signalled = asyncio.create_task(self._signalled.wait())
        ends: list[asyncio.Task[Any]] = [signalled, *running]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            await self._shut_down(running)
            for task in running:
                await task  # raises the refusal of a process
        finally:
            ticking.cancel()
            signalled.cancel()
            if metrics is not None:
                server, serving = metrics
                server.should_exit = True
                await serving

    def _metrics_server(self) -> tuple[MetricsServer, asyncio.Task[None]] | None:
        if not self._metrics_sockets:
            return None
        app = create_metrics_app(self, self._settings, self._metrics)
        bounds = ConnectionBounds(self._settings.receive_timeout_s)
        server = MetricsServer(config_of(app, self._settings, bounds))
        return server, asyncio.create_task(server.serve(self._metrics_sockets))

    # -- the service as a whole, for `service.api.health` ------------------------------------------

    @property
    def ready(self) -> bool:
        """Return whether every process is ready."""
        return not self._closing and all(shard.ready for shard in self._shards)

    def require_ready(self) -> None:
        if self._closing:
            raise ShuttingDown
        if not self.ready:
            raise NotReady

    async def exposition(self) -> bytes:
        """Return the metrics of all processes together, also of those that have ended."""
        self._metrics.engine_up.set(self.ready)
        collected = await asyncio.gather(*(shard.families() for shard in self._shards))
        named = zip(self._shards, collected, strict=True)
        sources = [totals.labelled(str(shard.share.index), families) for shard, families in named]
        own = totals.labelled("supervisor", self._metrics.families())
        return totals.exposition(totals.combined([own, self._ended, *sources]))

    def info(self) -> Mapping[str, Any]:
        for shard in self._shards:
            if shard.info is not None:
                return shard.info
        raise NotReady

    # -- what processes report ---------------------------------------------------------------------

    def changed(self) -> None:
        """Tell every process whether all are ready, and accept while there is one."""
        if self._takers():
            self._front.open()
        if self.ready != self._told_ready:
            self._told_ready = self.ready
            self._order(AllReady(self.ready))

    def ended(self, shard: ShardSupervisor, reason: str | None, families: Sequence[Metric]) -> None:
        """Keep what an ended process has counted, so that no total falls."""
        last = totals.labelled(str(shard.share.index), families)
        self._ended = totals.combined([self._ended, totals.growing(last)])
        if reason is not None:
            self._metrics.process_ended(reason)
        self.changed()

    def returned(self, connections: Sequence[socket.socket]) -> None:
        for connection in connections:
            self._front.give(connection)

    def scraped(self, shard: ShardSupervisor, number: int) -> None:
        async def answer() -> None:
            shard.order(Exposition(number, await self.exposition()))

        task = asyncio.create_task(answer())
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _takers(self) -> list[ShardSupervisor]:
        """Return the processes for new connections: the ready ones, else all that can answer."""
        reporting = [shard for shard in self._shards if shard.reporting]
        return [shard for shard in reporting if shard.ready] or reporting

    async def _keep_looking(self) -> None:
        """Notice processes that fall silent."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.changed()

    # -- shutdown, step by step --------------------------------------------------------------------

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` leaves SIGHUP
                loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGUSR1, self._order, Announce())

    def _on_signal(self, number: signal.Signals) -> None:
        if self._closing and number == signal.SIGINT:
            self._order(ShutDown())  # a second one ends the drain
        self._signals.append(number)
        self._signalled.set()

    def _order(self, order: Order) -> None:
        for shard in self._shards:
            shard.order(order)

    async def _shut_down(self, running: Sequence[asyncio.Task[None]]) -> None:
        """Drain every process, close the listeners, let the processes end."""
        self._closing = True
        for shard in self._shards:
            shard.retire()
        self.changed()
        await _all(
            [shard.drained() for shard in self._shards],
            self._settings.drain_timeout_s + _ENGINES_S + _SLACK_S,
        )
        self._front.close()
        self._order(NoMoreConnections())
        if await _all(running, LINGER_S + LAST_ANSWERS_S + _SLACK_S):
            return
        for shard in self._shards:
            shard.kill()
        await asyncio.wait(running)


async def _all(waiting: Iterable[Awaitable[None]], timeout_s: float) -> bool:
    """Wait for all, also for those that raise; return whether they have ended in time."""
    _, late = await asyncio.wait([asyncio.ensure_future(one) for one in waiting], timeout=timeout_s)
    return not late
