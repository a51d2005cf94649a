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
from service.listening import accepted_last, bound_sockets
from service.logs import flush_log
from service.protocol import BoundedProtocol, ConnectionBounds, bounded_protocol
from service.runtime import Runtime
from service.settings import Settings

_Handlers = Mapping[int, Callable[[int, FrameType | None], None]]

_LOG = logging.getLogger(__name__)
_KEEP_ALIVE_S = 65  # over the 60 of load balancers, which must not use a closing connection
_POLL_S = 0.1  # between two checks for a signal, as often as uvicorn
_LINGER_S = 2.0  # after the drain, for a last request on each pooled connection
_LAST_ANSWERS_S = 3  # then, for answers that are still being sent
_STALLED_S = 30.0  # without a tick of the event loop; then /livez of the metrics port is 503
_OTHER_FILES = 200  # open files other than connections: engines, models, the log


def config_of(app: FastAPI, settings: Settings, bounds: ConnectionBounds) -> uvicorn.Config:
    """Return the configuration of every server: limits, no banner, the process's own log."""
    return uvicorn.Config(
        app,
        host=settings.host,
        http=bounded_protocol(bounds),
        ws="none",
        access_log=False,  # `RequestScope` logs requests in more detail
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
    )


class MetricsServer(uvicorn.Server):
    """Serve the metrics port from a thread with an event loop of its own.

    It runs from the start of the service until the drain has ended. A busy service still answers
    health checks within a second.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are for the service itself


class DrainingServer(uvicorn.Server):
    """Drain on SIGTERM, SIGINT and SIGHUP.

    The service becomes unready at once, then accepted requests are answered, and the listeners
    close last.

    uvicorn alone closes its sockets first, so load balancers get a refused connection instead of
    503 from `/readyz`. A second SIGINT ends the drain: requests under way get 503. SIGUSR1
    announces the shutdown: the service is unready and every answer closes its connection, but
    requests are accepted until one of the other signals arrives.

    Both ports are bound at once. Raises `SettingsError` when one cannot be bound.
    """

    def __init__(self, app: FastAPI, runtime: Runtime) -> None:
        self._runtime = runtime
        self._announce_requested = False
        self._ticked_s = time.monotonic()
        settings = runtime.settings
        self._bounds = ConnectionBounds(
            settings.receive_timeout_s,
            _affordable(settings.max_connections),
            runtime.metrics.connection_refused,
        )
        super().__init__(config_of(app, settings, self._bounds))
        self._sockets = bound_sockets(settings.host, settings.port, "CYBERSOLVE_PORT")
        self._metrics_sockets: list[socket.socket] = []
        self.metrics: MetricsServer | None = None
        if settings.metrics_port is not None:
            self._metrics_sockets = bound_sockets(
                settings.host, settings.metrics_port, "CYBERSOLVE_METRICS_PORT"
            )
            app = create_metrics_app(runtime, self._responsive)
            bounds = ConnectionBounds(settings.receive_timeout_s)
            self.metrics = MetricsServer(config_of(app, settings, bounds))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Add our signals to uvicorn's. Write the log before uvicorn raises the signal again, which
        ends the process.
        """
        ours: _Handlers = {
            signal.SIGHUP: self.handle_exit,
            signal.SIGUSR1: self._request_announcement,
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

    async def on_tick(self, counter: int) -> bool:
        """Return whether to shut down: on a signal, or once no engine can ever start."""
        self._ticked_s = time.monotonic()
        if self._announce_requested:
            self._announce_shutdown()
        return self._runtime.refused is not None or await super().on_tick(counter)

    # -- shutdown, step by step --------------------------------------------------------------------

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._announce_shutdown()
        await self._drain()
        await self._stop_listening()
        await self._linger()
        await super().shutdown(sockets)

    def _announce_shutdown(self) -> None:
        """Become unready; every answer from now on closes its connection."""
        self._runtime.announce_shutdown()
        self._bounds.closing = True
        for connection in self.server_state.connections:
            cast("BoundedProtocol", connection).close_after_answer()

    async def _drain(self) -> None:
        draining = asyncio.create_task(self._runtime.stop())
        while not draining.done() and not self.force_exit:
            self._ticked_s = time.monotonic()
            await asyncio.wait([draining], timeout=_POLL_S)
        if not draining.done():
            draining.cancel()
            await self._runtime.stop(within_s=0.0)
            self.force_exit = (
                False  # the 503 answers are still being sent; a third signal ends that too
            )

    async def _stop_listening(self) -> None:
        """Close the listeners; connections that wait in their backlogs are accepted, not reset."""
        backlogs = [listener.dup() for server in self.servers for listener in server.sockets]
        for server in self.servers:
            server.close()
        # Accept all before the first is served, because a client that is answered may reconnect.
        waiting = [each for backlog in backlogs for each in accepted_last(backlog)]
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._connection, connection)
        _LOG.info("closed the listeners; %d connections waited in the backlog", len(waiting))

    def _connection(self) -> asyncio.Protocol:
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        return protocol(self.config, self.server_state, self.lifespan.state)

    async def _linger(self) -> None:
        """Wait for a last request on each pooled connection; its answer has `connection: close`.

        Closing a connection while its client sends would reset it and lose the request.
        """
        until = time.monotonic() + _LINGER_S
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(_POLL_S)

    # --------------------------------------------------------------------------------------------

    def _request_announcement(self, _: int, __: FrameType | None) -> None:
        self._announce_requested = True

    def _responsive(self) -> bool:
        """Return whether the event loop ran recently; the metrics server's thread calls this."""
        return time.monotonic() - self._ticked_s < _STALLED_S


def _affordable(connections: int) -> int:
    """Return how many connections the limit of open files allows, less `_OTHER_FILES`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - min(_OTHER_FILES, soft // 2)))


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
