"""An HTTP process as its supervisor sees it, from its start to its end."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack

from service.children import command_of
from service.contracts import EngineExit
from service.hosting.channel import Channel
from service.hosting.out_of_memory import OutOfMemoryKills
from service.shards import handover
from service.shards.messages import Begin, News, Order
from service.shards.share import Share

_LAST_S = 5.0  # for a process that closed its socket to exit
_LOOK_S = 0.005  # between two checks whether it has


class ShardProcess:
    """One process. It serves until it is told to stop, is killed or ends by itself."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        channel: Channel,
        way: tuple[socket.socket, socket.socket],
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._way, self._its_way = way
        self._killed = False  # by us
        self.handed_over = 0  # connections

    @classmethod
    async def start(cls, share: Share, on_news: Callable[[News], None]) -> ShardProcess:
        """Start a process with `share`. Raises `OSError`."""
        with ExitStack() as theirs, ExitStack() as ours:
            end, its_end = socket.socketpair()
            way, its_way = handover.pair()
            theirs.enter_context(its_end)
            for each in (end, way, its_way):
                ours.enter_context(each)
            handles = [its_end.fileno(), its_way.fileno()]
            process = subprocess.Popen(  # noqa: S603  # our own program
                command_of("service.shards", *map(str, handles)),
                pass_fds=handles,
                stdin=subprocess.DEVNULL,
            )
            channel = await Channel.over(end, on_news)
            ours.pop_all()
        channel.send(Begin(share))
        return cls(process, channel, (way, its_way))

    def order(self, order: Order) -> None:
        self._channel.send(order)

    def hand_over(self, connection: socket.socket) -> bool:
        """Return whether the process will get `connection`."""
        sent = handover.hand_over(self._way, connection)
        self.handed_over += sent
        return sent

    def kill(self) -> None:
        self._killed = True
        self._process.kill()

    def untaken(self) -> list[socket.socket]:
        """Return, once it has ended, the connections that it was given and did not take."""
        with self._way, self._its_way:
            return list(handover.handed_over(self._its_way))

    async def ended(self, out_of_memory: OutOfMemoryKills) -> EngineExit:
        """Return how the process ended, once it has and is reaped."""
        await asyncio.shield(self._channel.lost)
        loop = asyncio.get_running_loop()
        kill_at_s = loop.time() + _LAST_S
        while (status := self._process.poll()) is None:
            if loop.time() >= kill_at_s:
                self.kill()
            await asyncio.sleep(_LOOK_S)
        foreign_kill = status == -signal.SIGKILL and not self._killed
        return EngineExit(
            self.pid, status, out_of_memory=foreign_kill and out_of_memory.attribute()
        )
