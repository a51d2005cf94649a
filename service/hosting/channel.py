"""One end of a socket between two processes of the service, in an event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from service.hosting.frames import Unpacking, packed


class Channel(asyncio.Protocol):
    """Send messages, and call `on_message` for each that arrives."""

    def __init__(self, on_message: Callable[[Any], None]) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_message = on_message
        self._unpacking = Unpacking()
        self._transport: asyncio.WriteTransport | None = None

    @classmethod
    async def over(cls, end: socket.socket, on_message: Callable[[Any], None]) -> Channel:
        """Return a channel over `end`, which it owns, also where this raises."""
        loop = asyncio.get_running_loop()
        try:
            _, channel = await loop.create_connection(lambda: cls(on_message), sock=end)
        except BaseException:
            end.close()
            raise
        return channel

    def send(self, message: object) -> None:
        """Send `message`; drop it if the other end is gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(packed(message))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # -- called by the event loop ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        for message in self._unpacking.feed(data):
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        with suppress(asyncio.InvalidStateError):
            self.lost.set_result(None)
