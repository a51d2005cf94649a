"""An HTTP server that drains while it still listens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.app import create_metrics_app
from service.logs import flush_log
from service.protocol import bounded_protocol
from service.runtime import Runtime
from service.settings import Settings

_KEEP_ALIVE_S = 65  # over the 60 of common load balancers: they must not ask a closing connection


def config_of(app: FastAPI, settings: Settings, port: int) -> uvicorn.Config:
    """What every server of the process listens with: bounds, no banner, the process's own log."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        http=bounded_protocol(settings.receive_timeout_s),
        ws="none",
        access_log=False,  # `RequestScope` writes a line that says more
        log_config=None,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=5,  # seconds, for answers still on their way out
    )


class MetricsServer(uvicorn.Server):
    """The other port: answers from the start of the service until it has drained."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are for the service itself


_LOOK_S = 0.1  # between two looks for a signal, as often as uvicorn


class DrainingServer(uvicorn.Server):
    """On SIGTERM: unready at once, accepted requests answered, and only then deaf.

    uvicorn alone closes its sockets first, so that load balancers find a refused connection where
    `/readyz` should tell them 503. A second SIGINT ends the wait: whoever still waits gets 503.
    """

    def __init__(self, app: FastAPI, runtime: Runtime) -> None:
        settings = runtime.settings
        super().__init__(config_of(app, settings, settings.port))
        self._runtime = runtime
        self.metrics: MetricsServer | None = None
        if settings.metrics_port is not None:
            app = create_metrics_app(runtime)
            self.metrics = MetricsServer(config_of(app, settings, settings.metrics_port))

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Write the log out first: uvicorn raises the signal again, and that ends the process."""
        with super().capture_signals():
            try:
                yield
            finally:
                flush_log()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        if self.metrics is None:
            await super().serve(sockets)
            return
        port = self.metrics.config.bind_socket()  # where it is taken, nothing has started yet
        answering = asyncio.create_task(self.metrics.serve([port]))
        try:
            await super().serve(sockets)
        finally:
            self.metrics.should_exit = True
            await answering

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; without an engine, and no hope of one, there is nothing to serve."""
        return self._runtime.refused is not None or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.create_task(self._runtime.stop())
        while not draining.done() and not self.force_exit:
            await asyncio.wait([draining], timeout=_LOOK_S)
        if not draining.done():
            draining.cancel()
            await self._runtime.stop(within_s=0.0)
            self.force_exit = False  # their 503 is still on its way out; a third ends that too
        await super().shutdown(sockets)
