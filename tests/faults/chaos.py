"""Mixed load, and random faults under it: every request is checked when it is settled."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import httpx

from tests.faults.caller import Answer, Caller, NoAnswer, callers, encoded, questions, request
from tests.faults.malformed import requests
from tests.faults.server import Server, gone

SOLVE, BATCH, GENERATE = "/solve", "/solve/batch", "/generate"
INFER = "/v2/models/cybersolve-mini/infer"
SERIES = {SOLVE: SOLVE, BATCH: BATCH, GENERATE: GENERATE, INFER: "/v2/models/{model_name}/infer"}
RECEIVE_TIMEOUT_S = 4.0
MAX_QUEUE = 64
REFUSED = 0  # in place of a status: a new connection was closed without an answer
FINE = {200, 429}
MALFORMED = {400, 404, 413, 422, 431}
_ENGINE_FAULT = {500, 503, 504}
_LOOK_S = 0.05
_SPARE_HANDLES = 33  # from here on the service closes new connections
_FLOOD = {"questions": ["x + 1 = 2" + " " * 400] * 1000}  # with its questions, 400 KiB of log


@dataclass
class Fault:
    """A fault in progress, and the statuses that requests may get meanwhile."""

    kind: str
    statuses: set[int]
    ended_s: float = float("inf")


@dataclass
class Ledger:
    """The requests of callers and their ends, by route, and the faults that excuse an error."""

    faults: list[Fault] = field(default_factory=list)
    answered: dict[str, Counter[int]] = field(
        default_factory=lambda: {route: Counter() for route in SERIES}
    )
    disconnected: Counter[str] = field(default_factory=Counter)
    in_place: Counter[int] = field(default_factory=Counter)  # statuses of a batch's questions
    verdicts: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    @contextmanager
    def fault(self, kind: str, *statuses: int) -> Iterator[None]:
        fault = Fault(kind, set(statuses))
        self.faults.append(fault)
        yield
        fault.ended_s = time.monotonic()

    def check(self, status: int, began_s: float, fine: set[int], about: object) -> None:
        """Fail where neither the request nor a fault since it began explains its status."""
        excused = (status in f.statuses and f.ended_s >= began_s for f in self.faults)
        assert status in fine or any(excused), (status, about, self.faults)

    async def settle(
        self, route: str, caller: Caller, answering: Awaitable[Answer], fine: set[int] = FINE
    ) -> Answer | None:
        """Return the one answer of a request; `None` where its connection was refused."""
        began_s, is_new = time.monotonic(), caller.writer is None
        try:
            answer = await answering
        except (NoAnswer, ConnectionError, EOFError):
            assert is_new, f"an accepted request of {route} has no answer"
            self.check(REFUSED, began_s, set(), route)
            self.refused += 1
            return None
        if "x-request-id" in answer.headers:
            self.answered[route][answer.status] += 1
        self.check(answer.status, began_s, fine, (route, answer))
        if answer.status == 200:
            self._check_body(route, answer, began_s)
        return answer

    def _check_body(self, route: str, answer: Answer, began_s: float) -> None:
        if answer.headers["content-type"].startswith("text/event-stream"):
            done = b"event: done" in answer.body
            assert done != (b"event: error" in answer.body), answer
            if not done:
                self.check(500, began_s, set(), answer)
        elif route == SOLVE:
            self.verdicts[answer.json()["verdict"]] += 1
        elif route == BATCH:
            for result in answer.json()["results"]:
                status = result.get("status", 200)
                self.in_place[status] += 1
                self.check(status, began_s, {*FINE, 422, 504}, result)


class LogReader:
    """Read the service's log into a file, with pauses."""

    def __init__(self, handle: int, file: Path) -> None:
        self._handle, self._file = handle, file
        self._may_read = threading.Event()
        self._may_read.set()
        threading.Thread(target=self._read_all, daemon=True).start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._may_read.clear()
        try:
            yield
        finally:
            self._may_read.set()

    def _read_all(self) -> None:
        with self._file.open("wb", buffering=0) as file:
            while self._may_read.wait() and (piece := os.read(self._handle, 1 << 16)):
                file.write(piece)
        os.close(self._handle)


class Chaos:
    """The load and the faults of one seed on one server."""

    def __init__(self, server: Server, health: Server, log: LogReader, seed: int) -> None:
        self.server, self.health, self.log = server, health, log
        self.ledger = Ledger()
        self.random = random.Random(seed)
        self.struck: list[int] = []
        self.over = False
        self.longest_health_s = self.last_fault_s = 0.0
        self._questions = questions(seed)
        self._malformed = requests(seed)

    # -- load ------------------------------------------------------------------------------------

    async def load(self, caller: Caller) -> None:
        """One request after the other until the end, of every kind."""
        while not self.over:
            route, raw = self._request()
            answer = await self.ledger.settle(route, caller, caller.send(raw))
            busy = answer is None or answer.status == 429
            await asyncio.sleep(self.random.uniform(0, 0.2 if busy else 0.02))

    async def probe(self) -> None:
        """Ask for health on its own port, on one connection, until the end."""
        async with callers(self.health.port, 1) as (caller,):
            while not self.over:
                began_s = time.monotonic()
                assert (await caller.get("/livez")).status == 200
                assert (await caller.get("/readyz")).status in {200, 503}
                self.longest_health_s = max(self.longest_health_s, time.monotonic() - began_s)
                await asyncio.sleep(_LOOK_S)

    def _request(self) -> tuple[str, bytes]:
        (route,) = self.random.choices([SOLVE, BATCH, GENERATE, INFER], [6, 1, 2, 1])
        asked = list(islice(self._questions, 1 if route in {SOLVE, GENERATE} else 8))
        tensor = {"name": "question", "datatype": "BYTES", "shape": [len(asked)], "data": asked}
        bodies: dict[str, object] = {
            SOLVE: {"question": asked[0]},
            BATCH: {"questions": asked},
            GENERATE: {"text": asked[0], "stream": self.random.random() < 0.5},
            INFER: {"inputs": [tensor]},
        }
        return route, request(route, encoded(bodies[route]))

    # -- faults of callers -----------------------------------------------------------------------

    async def disconnect_early(self) -> None:
        async def one(caller: Caller) -> None:
            route, raw = self._request()
            with suppress(ConnectionError):
                await caller.write(raw)
                self.ledger.disconnected[route] += 1
                await asyncio.sleep(self.random.uniform(0, 0.1))
            caller.leave()

        await self._all(20, one)

    async def send_malformed(self) -> None:
        async def one(caller: Caller) -> None:
            raw, is_http = next(self._malformed)
            if is_http:
                route = raw.split(b" ", 2)[1].decode()
                fine = FINE | MALFORMED
                await self.ledger.settle(route, caller, caller.send(raw), fine)
                return
            with suppress(ConnectionError):
                await caller.write(raw)
                self.ledger.disconnected[SOLVE] += 1  # a part of these is a whole request
                await asyncio.sleep(_LOOK_S)

        await self._all(30, one)

    async def send_slowly(self) -> None:
        async def in_two_pieces(caller: Caller, raw: bytes, pause_s: float) -> Answer:
            await caller.write(raw[:-5])
            await asyncio.sleep(pause_s)
            await caller.write(raw[-5:])
            return await caller.answer()

        async def never_whole(caller: Caller, raw: bytes) -> Answer:
            await caller.write(raw[:-5])
            return await caller.answer()

        async def one(caller: Caller) -> None:
            route, raw = self._request()
            if self.random.random() < 0.5:
                await self.ledger.settle(route, caller, never_whole(caller, raw), {408, 429})
                return
            pause_s = self.random.uniform(0, 0.3)
            sending = in_two_pieces(caller, raw, pause_s)
            await self.ledger.settle(route, caller, sending, {*FINE, 408})

        await self._all(10, one)

    async def send_late_batch(self) -> None:
        async def one(caller: Caller) -> None:
            asked = list(islice(self._questions, 1000))
            raw = request(BATCH, encoded({"questions": asked, "timeout_ms": 300}))
            answer = await self.ledger.settle(BATCH, caller, caller.send(raw), {*FINE, 504})
            if answer is not None and answer.status == 200:
                assert len(answer.json()["results"]) == len(asked)

        await self._all(1, one)

    async def send_burst(self) -> None:
        async def one(caller: Caller) -> None:
            raw = request(SOLVE, encoded({"question": next(self._questions)}))
            await self.ledger.settle(SOLVE, caller, caller.send(raw))

        await self._all(3 * MAX_QUEUE, one)

    async def _all(self, count: int, one: Callable[[Caller], Awaitable[object]]) -> None:
        async with callers(self.server.port, count) as many:
            await asyncio.gather(*map(one, many))

    # -- faults of the machine -------------------------------------------------------------------

    async def kill_engine(self) -> None:
        await self._strike(signal.SIGKILL)

    async def stop_engine(self) -> None:
        await self._strike(signal.SIGSTOP)

    async def _strike(self, blow: signal.Signals) -> None:
        """Strike an engine that is up, and wait until all engines are up again."""
        with self.ledger.fault(blow.name, *_ENGINE_FAULT):
            engines = self.server.engines()
            while not await self._ready():
                await asyncio.sleep(_LOOK_S)
                engines = self.server.engines()
            pid = self._signal(engines, blow)
            self.last_fault_s = time.monotonic()
            await self._replaced(pid)

    def _signal(self, engines: list[int], blow: signal.Signals) -> int:
        pid = self.random.choice(engines)
        with suppress(ProcessLookupError):
            os.kill(pid, blow)
            self.struck.append(pid)
        return pid

    async def _replaced(self, pid: int) -> None:
        while not gone(pid) or not await self._ready():
            await asyncio.sleep(_LOOK_S)

    async def _ready(self) -> bool:
        return await asyncio.to_thread(self.health.ready)

    async def exhaust_handles(self) -> None:
        """Lower the limit of the running service until it accepts no connection, and kill an
        engine meanwhile.
        """
        service = self.server.process.pid
        limits = resource.prlimit(service, resource.RLIMIT_NOFILE)
        with self.ledger.fault("handles", REFUSED, *_ENGINE_FAULT):
            highest = max(map(int, os.listdir(f"/proc/{service}/fd")))
            few = (highest + _SPARE_HANDLES, limits[1])
            resource.prlimit(service, resource.RLIMIT_NOFILE, few)
            try:
                pid = self._signal(self.server.engines(), signal.SIGKILL)
                await self._all(40, self._solve)
                await asyncio.sleep(self.random.uniform(0.2, 1.0))
            finally:
                resource.prlimit(service, resource.RLIMIT_NOFILE, limits)
            self.last_fault_s = time.monotonic()
            await self._replaced(pid)

    async def leave_log_unread(self) -> None:
        """Leave the log unread until the service drops lines of it."""
        raw = request(BATCH, encoded(_FLOOD))

        async def one(caller: Caller) -> None:
            await self.ledger.settle(BATCH, caller, caller.send(raw))

        dropped = await self._dropped_lines()
        with self.log.paused():
            # A batch may be refused, by the queue or by another fault. Then it leaves no questions
            # in the log, so how many it takes is not known before.
            while await self._dropped_lines() == dropped:
                await self._all(2, one)

    async def _dropped_lines(self) -> float:
        while True:
            with suppress(httpx.TransportError):  # without handles, that port accepts none either
                return await asyncio.to_thread(self.health.metric, "log_lines_dropped_total")
            await asyncio.sleep(_LOOK_S)

    # -- rounds ----------------------------------------------------------------------------------

    async def round(self) -> float:
        """Begin every kind of fault at random moments; return the seconds from the last of them
        until the service is ready and answers new questions correctly.
        """
        struck = [self.kill_engine, self.stop_engine, self.exhaust_handles]
        sent = [
            self.leave_log_unread, self.disconnect_early, self.send_malformed, self.send_slowly,
            self.send_late_batch, self.send_burst,
        ]  # fmt: skip
        faults = [*struck, *sent]
        self.random.shuffle(faults)

        async def begin(fault: Callable[[], Awaitable[None]]) -> None:
            await fault()
            if fault in sent:  # the others say themselves when they are over
                self.last_fault_s = time.monotonic()

        async with asyncio.TaskGroup() as begun:
            for fault in faults:
                begun.create_task(begin(fault))
                await asyncio.sleep(self.random.uniform(0, 0.6))
        while not await self._answers_correctly():
            await asyncio.sleep(_LOOK_S)
        recovery_s = time.monotonic() - self.last_fault_s
        self.ledger.faults.clear()
        await asyncio.sleep(0.5)  # without a fault: no request has an excuse
        return recovery_s

    async def _answers_correctly(self) -> bool:
        if not await self._ready():
            return False
        async with callers(self.server.port, 4) as many:
            answers = await asyncio.gather(*map(self._solve, many))
        return all(answer is not None and answer.json().get("answer") == "2" for answer in answers)

    async def _solve(self, caller: Caller) -> Answer | None:
        raw = request(SOLVE, encoded({"question": "x + 1 = 3"}))
        return await self.ledger.settle(SOLVE, caller, caller.send(raw))
