"""Serve HTTP in this process: its listening sockets, its signals and its metrics port."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.app import create_metrics_app
from service.draining import STALLED_S, DrainingServer, config_of
from service.listening import accepted_last, bound_sockets
from service.logs import flush_log
from service.protocol import ConnectionBounds
from service.runtime import Runtime

_Handlers = Mapping[int, Callable[[int, FrameType | None], None]]

_LOG = logging.getLogger(__name__)


class MetricsServer(uvicorn.Server):
    """Serve the metrics port from a thread with an event loop of its own.

    It runs from the start of the service until the drain has ended. A busy service still answers
    health checks within a second.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are for the service itself


class ListeningServer(DrainingServer):
    """Listen on the service's ports, and drain on SIGTERM, SIGINT and SIGHUP.

    A second SIGINT ends the drain: requests under way get 503. SIGUSR1 announces the shutdown: the
    service is unready and every answer closes its connection, but requests are accepted until one
    of the other signals arrives.

    Both ports are bound at once. Raises `SettingsError` when one cannot be bound.
    """

    def __init__(self, app: FastAPI, runtime: Runtime) -> None:
        super().__init__(app, runtime)
        settings = runtime.settings
        self._sockets = bound_sockets(settings.host, settings.port, "CYBERSOLVE_PORT")
        self._metrics_sockets: list[socket.socket] = []
        self.metrics: MetricsServer | None = None
        if settings.metrics_port is not None:
            self._metrics_sockets = bound_sockets(
                settings.host, settings.metrics_port, "CYBERSOLVE_METRICS_PORT"
            )
            app = create_metrics_app(runtime, settings, runtime.metrics, self._responsive)
            bounds = ConnectionBounds(settings.receive_timeout_s)
            self.metrics = MetricsServer(config_of(app, settings, bounds))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Add our signals to uvicorn's. Write the log before uvicorn raises the signal again, which
        ends the process.
        """
        ours: _Handlers = {
            signal.SIGHUP: self.handle_exit,
            signal.SIGUSR1: lambda *_: self.announce(),
        }
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

    async def _stop_listening(self) -> None:
        """Close the listeners; connections that wait in their backlogs are accepted, not reset."""
        backlogs = [listener.dup() for server in self.servers for listener in server.sockets]
        for server in self.servers:
            server.close()
        # Accept all before the first is served, because a client that is answered may reconnect.
        waiting = [each for backlog in backlogs for each in accepted_last(backlog)]
        for connection in waiting:
            await self._accept(connection)
        _LOG.info("closed the listeners; %d connections waited in the backlog", len(waiting))

    def _responsive(self) -> bool:
        """Return whether the event loop ran recently; the metrics server's thread calls this."""
        return time.monotonic() - self._ticked_s < STALLED_S


@contextmanager
def _handled(handlers: _Handlers) -> Iterator[None]:
    """Handle these signals until the block ends; an ignored one (`nohup`) stays ignored.

    Do nothing outside the main thread, which alone may set handlers.
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
