"""Send the head of a response together with what follows it."""

from __future__ import annotations

import asyncio
from typing import Any

_STATUS = b"HTTP/"
_HEAD_END = b"\r\n\r\n"


class OneWrite:
    """A transport that holds back a head until the first bytes of its body, or the next turn.

    uvicorn writes the head and the body of a response one after the other. Each write is a system
    call here, and a packet and a system call more at the client, which can do nothing with a head
    alone. Whatever is not written through `write` is the transport's own.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""
        self._due: asyncio.Handle | None = None
        self.is_closing = transport.is_closing  # asked for every request

    def write(self, data: bytes) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
            data, self._held = self._held + data, b""
        elif data.startswith(_STATUS) and data.endswith(_HEAD_END):
            self._held, self._due = data, self._loop.call_soon(self._release)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what is held, and close."""
        self._release()
        self._transport.close()

    def _release(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
            held, self._held = self._held, b""
            if not self.is_closing():  # else the connection was lost meanwhile
                self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
