"""An HTTP server that drains before it ends: the steps, whoever gives it connections and orders."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from typing import cast

import uvicorn
from fastapi import FastAPI

from service.protocol import BoundedProtocol, ConnectionBounds, bounded_protocol
from service.runtime import Runtime
from service.settings import Settings

_KEEP_ALIVE_S = 65  # over the 60 of load balancers, which must not use a closing connection
_POLL_S = 0.1  # between two checks for a signal, as often as uvicorn
LINGER_S = 2.0  # after the drain, for a last request on each pooled connection
LAST_ANSWERS_S = 3  # then, for answers that are still being sent
STALLED_S = 30.0  # without a tick of the event loop: the process hangs
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
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )


class DrainingServer(uvicorn.Server):
    """Drain at the end: become unready at once, answer accepted requests, close the doors last.

    uvicorn alone closes its sockets first, so load balancers get a refused connection instead of
    503 from `/readyz`. Subclasses bring the connections, and say when to shut down.
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

    async def on_tick(self, counter: int) -> bool:
        """Return whether to shut down: on request, or once no engine can ever start."""
        self._ticked_s = time.monotonic()
        if self._announce_requested:
            self._announce_shutdown()
        return self._runtime.refused is not None or await super().on_tick(counter)

    def announce(self) -> None:
        """Announce the shutdown at the next tick; requests are accepted until it begins."""
        self._announce_requested = True

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
                False  # the 503 answers are still being sent; a third request ends that too
            )

    async def _stop_listening(self) -> None:
        """Let no new connection in; those under way to this process are accepted, not reset."""
        raise NotImplementedError

    async def _accept(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted elsewhere."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol = cast("type[BoundedProtocol]", self.config.http_protocol_class)
        return protocol(self.config, self.server_state, self.lifespan.state)

    async def _linger(self) -> None:
        """Wait for a last request on each pooled connection; its answer has `connection: close`.

        Closing a connection while its client sends would reset it and lose the request.
        """
        until = time.monotonic() + LINGER_S
        while self.server_state.connections and time.monotonic() < until and not self.force_exit:
            await asyncio.sleep(_POLL_S)


def _affordable(connections: int) -> int:
    """Return how many connections the limit of open files allows, less `_OTHER_FILES`."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - min(_OTHER_FILES, soft // 2)))
