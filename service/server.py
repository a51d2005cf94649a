"""An HTTP server that drains while it still listens."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from service.runtime import Runtime


class DrainingServer(uvicorn.Server):
    """On SIGTERM: unready at once, accepted requests answered, and only then deaf.

    uvicorn alone closes its sockets first, so that load balancers find a refused connection where
    `/readyz` should tell them 503.
    """

    def __init__(self, app: FastAPI, runtime: Runtime) -> None:
        settings = runtime.settings
        config = uvicorn.Config(app, host=settings.host, port=settings.port, access_log=False)
        config.timeout_graceful_shutdown = 5  # seconds, for answers still on their way out
        super().__init__(config)
        self._runtime = runtime

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; without an engine, and no hope of one, there is nothing to serve."""
        return self._runtime.refused is not None or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._runtime.stop()
        await super().shutdown(sockets)
