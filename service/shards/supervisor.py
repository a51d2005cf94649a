"""The supervisor of one HTTP process: its state, its health checks and its restarts."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Protocol

from prometheus_client import Metric

from service.contracts import EngineExit
from service.errors import EngineRefused
from service.hosting.out_of_memory import OutOfMemoryKills
from service.shards.messages import (
    Collect,
    Connections,
    Drained,
    News,
    Order,
    Refused,
    Report,
    Scrape,
    Served,
    ShutDown,
)
from service.shards.process import ShardProcess
from service.shards.share import Share

_LOG = logging.getLogger(__name__)
_FIRST_DELAY_S, _MAX_DELAY_S = 0.1, 30.0  # the backoff between two starts, as for engines
_CHECKS = 4  # checks in the silence that a process is allowed
_START_HANGS = 10  # times that silence, because a large model takes long to load
_SILENT_S = 5.0  # without a report; then it gets no new connections, and is not ready
_COLLECT_S = 0.5  # for a process to report when asked; else its last report counts


class Owner(Protocol):
    """The service that the process is a part of."""

    def changed(self) -> None: ...  # the process may be more or less ready than before

    def ended(
        self, shard: ShardSupervisor, reason: str | None, families: Sequence[Metric]
    ) -> None: ...  # `families`: its last metrics; no reason: it was told to

    def returned(self, connections: Sequence[socket.socket]) -> None: ...  # for another process

    def scraped(self, shard: ShardSupervisor, number: int) -> None: ...  # wants the metrics of all


class ShardSupervisor:
    """Start the process of `share`, check that it reports, and restart it when it crashes or hangs.

    A process hangs when it sends no report for the hang timeout, at its start for ten times that.
    The restart backoff doubles until a process has run for longer than the longest delay.
    """

    def __init__(
        self,
        share: Share,
        owner: Owner,
        out_of_memory: OutOfMemoryKills,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = share
        self._owner = owner
        self._out_of_memory = out_of_memory
        self._clock = clock
        self._process: ShardProcess | None = None
        self._numbers = count()
        self._collecting: dict[int, asyncio.Future[None]] = {}
        self._delay_s = _FIRST_DELAY_S
        self._was_up = self._hung = False
        self._retired = asyncio.Event()
        self._drained = asyncio.Event()
        self._silent_checks = 0
        self._heard_s = 0.0
        self._held = Connections(0, 0)
        self._refusal: str | None = None
        self.report: Report | None = None  # the latest of the process that runs
        self.info: Mapping[str, Any] | None = None  # the fields of `GET /info`

    async def run(self) -> None:
        """Keep the process running until `retire`. Raises `EngineRefused` if its first start is."""
        try:
            await self._keep_running()
        finally:
            self._drained.set()

    async def _keep_running(self) -> None:
        while not self._retired.is_set():
            started_s = self._clock()
            try:
                self._process = await ShardProcess.start(self.share, self._on_news)
            except OSError as error:
                _LOG.error("an HTTP process did not start (%s)", error)
            else:
                if self._retired.is_set():
                    self.kill()
                end = await self._watch(self._process)
                untaken = self._process.untaken()
                self._on_end(end)
                self._owner.returned(untaken)
            if self._retired.is_set():
                break
            if self._refusal is not None and not self._was_up:
                raise EngineRefused(self._refusal)
            if self._clock() - started_s > _MAX_DELAY_S:
                self._delay_s = _FIRST_DELAY_S
            _LOG.error("HTTP process %d restarts in %.1f s", self.share.index, self._delay_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._retired.wait(), self._delay_s)
            self._delay_s = min(2 * self._delay_s, _MAX_DELAY_S)

    # -- state -------------------------------------------------------------------------------------

    @property
    def reporting(self) -> bool:
        """Return whether the process serves, and has reported lately."""
        return self.report is not None and self._clock() - self._heard_s < _SILENT_S

    @property
    def ready(self) -> bool:
        return self.reporting and self.report is not None and self.report.ready

    @property
    def connections(self) -> float:
        """Return the connections of the process, those on the way too, for each of its cores."""
        if self._process is None:
            return 0.0
        under_way = self._process.handed_over - self._held.received
        return (self._held.held + under_way) / self.share.cpus

    def hand_over(self, connection: socket.socket) -> bool:
        return self._process is not None and self._process.hand_over(connection)

    def order(self, order: Order) -> None:
        if self._process is not None:
            self._process.order(order)

    async def families(self) -> Sequence[Metric]:
        """Return the metrics of the process as they are now, or the last known if it is silent."""
        if not self.reporting:
            return self.report.families if self.report else ()
        number = next(self._numbers)
        collected = self._collecting[number] = asyncio.get_running_loop().create_future()
        self.order(Collect(number))
        await asyncio.wait([collected], timeout=_COLLECT_S)
        del self._collecting[number]
        return self.report.families if self.report else ()

    # -- the end -----------------------------------------------------------------------------------

    def retire(self) -> None:
        """Drain the process, and do not start it again; kill one that does not serve yet."""
        self._retired.set()
        if self.report is None:
            self.kill()
        else:
            self.order(ShutDown())

    async def drained(self) -> None:
        """Return once the process has answered all it accepted, or has ended."""
        await self._drained.wait()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    # -- health ------------------------------------------------------------------------------------

    async def _watch(self, process: ShardProcess) -> EngineExit:
        """Return once the process has ended, by itself or because it hung and was killed.

        Checks are counted, not seconds, as for engines.
        """
        self._silent_checks, self._hung = 0, False
        ended = asyncio.ensure_future(process.ended(self._out_of_memory))
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=self.share.settings.hang_timeout_s / _CHECKS)
                self._silent_checks += 1
                allowed = _CHECKS if self.report is not None else _CHECKS * _START_HANGS
                if self._silent_checks > allowed and not ended.done():
                    self._hung = True
                    process.kill()
            return await ended
        finally:
            ended.cancel()

    def _on_end(self, end: EngineExit) -> None:
        families = self.report.families if self.report else ()
        self._process, self.report, self._held = None, None, Connections(0, 0)
        for collected in self._collecting.values():
            _settle(collected)
        if self._retired.is_set():
            _LOG.info("HTTP process %d: %s", self.share.index, end)
            self._owner.ended(self, None, families)
            return
        if self._refusal is not None:
            _LOG.error("HTTP process %d cannot serve: %s", self.share.index, self._refusal)
        crash = "out_of_memory" if end.out_of_memory else "crashed"
        reason = "hung" if self._hung else crash
        _LOG.error("HTTP process %d %s (%s)", self.share.index, reason.replace("_", " "), end)
        self._owner.ended(self, reason, families)

    def _on_news(self, news: News) -> None:
        self._silent_checks = 0
        if isinstance(news, Report):
            self._heard_s, self.report, self._was_up = self._clock(), news, True
            self._refusal = None
            if news.number is not None and (wait := self._collecting.get(news.number)) is not None:
                _settle(wait)
            self._owner.changed()
        elif isinstance(news, Connections):
            self._held = news
        elif isinstance(news, Served):
            self.info = news.info
        elif isinstance(news, Scrape):
            self._owner.scraped(self, news.number)
        elif isinstance(news, Drained):
            self._drained.set()
        elif isinstance(news, Refused):
            self._refusal = news.reason


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
