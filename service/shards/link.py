"""The end that an HTTP process has of its socket to the supervisor."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from itertools import count

from service.errors import NotReady
from service.hosting.channel import Channel
from service.hosting.frames import packed
from service.metrics import Metrics
from service.shards.messages import AllReady, Exposition, News, Order, Refused, Scrape

_SCRAPE_S = 5.0  # for the supervisor, which waits half a second for each process


class Link:
    """Implement `service.peers.Peers`, and pass all other orders on to `on_order`."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._channel: Channel | None = None
        self._numbers = count()
        self._scrapes: dict[int, asyncio.Future[bytes]] = {}
        self.ready = False

    async def open(self, on_order: Callable[[Order], None]) -> asyncio.Future[None]:
        """Read orders from now on; return a future that ends with the supervisor."""

        def on_message(order: Order) -> None:
            if isinstance(order, AllReady):
                self.ready = order.ready
            elif isinstance(order, Exposition):
                if (scrape := self._scrapes.get(order.number)) is not None and not scrape.done():
                    scrape.set_result(order.text)
            else:
                on_order(order)

        self._channel = await Channel.over(self._end.dup(), on_message)
        return self._channel.lost

    def send(self, news: News) -> None:
        if self._channel is not None:
            self._channel.send(news)

    def refuse(self, reason: str) -> None:
        """Say why this process ends; before `open`, or once the event loop has ended."""
        self._end.setblocking(True)
        self._end.sendall(packed(Refused(reason)))

    async def exposition(self, own: Metrics) -> bytes:
        number = next(self._numbers)
        scrape: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._scrapes[number] = scrape
        self.send(Scrape(number))
        try:
            async with asyncio.timeout(_SCRAPE_S):
                return await scrape
        except TimeoutError:
            raise NotReady from None
        finally:
            del self._scrapes[number]
