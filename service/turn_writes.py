"""Send the answers of one turn of the event loop together, at its end.

An answer that is sent wakes its client. On the same machine the client then often takes the core,
reads one answer, sends one request and sleeps, and the server begins anew with cold caches. After
answers that are sent one right after the other, clients send several requests at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

_MOST_HELD = 65_536  # bytes; as uvloop's high-water mark, above which a producer has to wait


class TurnWrites:
    """The connections of one event loop that have written in this turn."""

    def __init__(self) -> None:
        self._held: list[HeldTransport] = []

    def add(self, transport: HeldTransport, loop: asyncio.AbstractEventLoop) -> None:
        """Have `transport` send what it holds once the callbacks due before have run."""
        if not self._held:
            loop.call_soon(self._send)
        self._held.append(transport)

    def _send(self) -> None:
        held, self._held = self._held, []
        for transport in held:
            transport.send()


class HeldTransport:
    """A transport that holds what is written until the end of the turn, and sends it in one piece.

    So the head and the body of an answer, which uvicorn writes one after the other, are one system
    call here, and one packet and one system call at the client. Whatever is not written through
    `write` is the transport's own.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, turn: TurnWrites
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._turn = turn
        self._held = b""
        self.is_closing = transport.is_closing  # asked for every request

    def write(self, data: bytes) -> None:
        if not self._held:
            self._turn.add(self, self._loop)
        self._held += data
        if len(self._held) > _MOST_HELD:
            self.send()  # at once, so that the transport can pause its producer

    def send(self) -> None:
        """Send what is held, unless the connection was lost meanwhile."""
        held, self._held = self._held, b""
        if held and not self.is_closing():
            self._transport.write(held)

    def close(self) -> None:
        """Send what is held, and close."""
        self.send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
