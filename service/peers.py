"""The other HTTP processes that serve the same port, as one of them sees them."""

from __future__ import annotations

from typing import Protocol

from service.metrics import Metrics


class Peers(Protocol):
    """The others, whose state is part of what `/readyz` and `/metrics` report."""

    @property
    def ready(self) -> bool:
        """Return whether every process of the service is ready."""
        ...

    async def exposition(self, own: Metrics) -> bytes:
        """Return the metrics of all processes together, in Prometheus' text format.

        Raises `NotReady` if they cannot be had.
        """
        ...


class NoPeers:
    """Implement `Peers` for a process that serves alone."""

    ready = True

    async def exposition(self, own: Metrics) -> bytes:
        return own.exposition()
