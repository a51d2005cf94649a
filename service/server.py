"""An HTTP server that drains while it still listens."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from service.app import create_metrics_app
from service.listening import bound_sockets
from service.logs import flush_log
from service.protocol import BoundedProtocol, ConnectionBounds, bounded_protocol
from service.runtime import Runtime
from service.settings import Settings

_Handlers = Mapping[int, Callable[[int, FrameType | None], None]]

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE_S = 65  # over the 60 of common load balancers: they must not ask a closing connection
_LOOK_S = 0.1  # between two looks for a signal, as often as uvicorn
_LINGER_S = 2.0  # after the drain, for pooled connections to be told that they are closed
_LAST_ANSWERS_S = 3  # and then for answers still on their way out
_STALLED_S = 30.0  # of an event loop that does not turn: then /livez of the metrics port is 503
_OTHER_FILES = 200  # open files that are no connections: engines, models, the log
_COMPLAINT_S = 1.0  # between two lines about connections that are refused


def config_of(app: FastAPI, settings: Settings, bounds: ConnectionBounds) -> uvicorn.Config:
    """Return what every server listens with: bounds, no banner, the process's own log."""
    return uvicorn.Config(
        app,
        host=settings.host,
        http=bounded_protocol(bounds),
        ws="none",
        access_log=False,  # `RequestScope` writes a line that says more
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )


class MetricsServer(uvicorn.Server):
    """The other port, in a thread and an event loop of its own, from the start of the service until
    it has drained: however busy the service is, its health is told within a second.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are for the service itself


class DrainingServer(uvicorn.Server):
    """Drains on SIGTERM, SIGINT and SIGHUP: unready at once, accepted requests answered, deaf last.

    uvicorn alone closes its sockets first, so that load balancers find a refused connection where
    `/readyz` should tell them 503. A second SIGINT ends the wait: requests under way get 503.
    SIGUSR1 says that the end is near: unready, and every answer closes its connection, but requests
    are accepted until one of the other signals comes.

    Both ports are bound at once; raises `SettingsError` where one cannot be had.
    """

    def __init__(self, app: FastAPI, runtime: Runtime) -> None:
        self._runtime = runtime
        self._leave_requested = False
        self._turned_s = time.monotonic()
        self._complained_s = 0.0
        settings = runtime.settings
        self._bounds = ConnectionBounds(
            settings.receive_timeout_s, _affordable(settings.max_connections), self._count_refused
        )
        super().__init__(config_of(app, settings, self._bounds))
        self._sockets = bound_sockets(settings.host, settings.port, "CYBERSOLVE_PORT")
        self._metrics_sockets: list[socket.socket] = []
        self.metrics: MetricsServer | None = None
        if settings.metrics_port is not None:
            self._metrics_sockets = bound_sockets(
                settings.host, settings.metrics_port, "CYBERSOLVE_METRICS_PORT"
            )
            app = create_metrics_app(runtime, self._turns)
            bounds = ConnectionBounds(settings.receive_timeout_s)
            self.metrics = MetricsServer(config_of(app, settings, bounds))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Add ours to uvicorn's, which raises a signal again as this ends: that ends the process,
        so the log is written out first.
        """
        ours: _Handlers = {signal.SIGHUP: self.handle_exit, signal.SIGUSR1: self._request_leave}
        with super().capture_signals():
            try:
                with _handled(ours):
                    yield
            finally:
                flush_log()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        sockets = sockets or self._sockets
        for listener in sockets:
            _LOG.info("listening on http://%s:%d", *listener.getsockname()[:2])
        if self.metrics is None:
            await super().serve(sockets)
            return
        answering = asyncio.create_task(asyncio.to_thread(self.metrics.run, self._metrics_sockets))
        try:
            await super().serve(sockets)
        finally:
            self.metrics.should_exit = True
            await answering

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; without an engine, and no hope of one, there is nothing to serve."""
        self._turned_s = time.monotonic()
        if self._leave_requested:
            self._leave()
        return self._runtime.refused is not None or await super().on_tick(counter)

    # -- the end, step by step ---------------------------------------------------------------------

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leave()
        await self._drain()
        await self._stop_listening()
        await self._linger()
        await super().shutdown(sockets)

    def _leave(self) -> None:
        """Be unready, and have every answer from now on close its connection."""
        self._runtime.leave()
        self._bounds.closing = True
        for connection in self.server_state.connections:
            cast("BoundedProtocol", connection).close_after_answer()

    async def _drain(self) -> None:
        draining = asyncio.create_task(self._runtime.stop())
        while not draining.done() and not self.force_exit:
            self._turned_s = time.monotonic()
            await asyncio.wait([draining], timeout=_LOOK_S)
        if not draining.done():
            draining.cancel()
            await self._runtime.stop(within_s=0.0)
            self.force_exit = False  # their 503 is still on its way out; a third ends that too

    async def _stop_listening(self) -> None:
        """Close the listeners; connections that wait in their backlogs are accepted, not reset."""
        backlogs = [listener.dup() for server in self.servers for listener in server.sockets]
        for server in self.servers:
            server.close()
        waiting = 0
        for backlog in backlogs:
            with backlog, suppress(BlockingIOError):
                for _ in range(self.config.backlog):
                    connection, _ = backlog.accept()
                    connection.setblocking(False)
                    await asyncio.get_running_loop().connect_accepted_socket(
                        self._connection, connection
                    )
                    waiting += 1
        _LOG.info("closed the listeners; %d connections waited in the backlog", waiting)

    def _connection(self) -> asyncio.Protocol:
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        return protocol(self.config, self.server_state, self.lifespan.state)

    async def _linger(self) -> None:
        """Let pooled connections make the request that is told 503 and `connection: close`.

        A connection that is closed while its client sends is reset, and the request lost.
        """
        until = time.monotonic() + _LINGER_S
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(_LOOK_S)

    # --------------------------------------------------------------------------------------------

    def _request_leave(self, _: int, __: FrameType | None) -> None:
        self._leave_requested = True

    def _turns(self) -> bool:
        """Whether the event loop has turned lately. For the metrics server's thread."""
        return time.monotonic() - self._turned_s < _STALLED_S

    def _count_refused(self) -> None:
        self._runtime.metrics.connection_refused()
        if (now := time.monotonic()) - self._complained_s >= _COMPLAINT_S:
            self._complained_s = now
            _LOG.warning("refusing connections: there are %d", self._bounds.max_connections)


def _affordable(connections: int) -> int:
    """Return as many as the limit of open files allows, beside the files that are needed anyhow."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - min(_OTHER_FILES, soft // 2)))


@contextmanager
def _handled(handlers: _Handlers) -> Iterator[None]:
    """Handle these signals until the block ends; one that was ignored (`nohup`) stays so.

    Only the main thread can.
    """
    before = {}
    with suppress(ValueError):
        for number, handler in handlers.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
