"""Hundreds of thousands of mixed requests to one server: nothing grows, and every number agrees."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.caller import Caller, callers, encoded, questions, request
from tests.faults.flat import growth
from tests.faults.malformed import ROUTES, requests
from tests.faults.server import Server, serving, until

SHORT = 1_000
LONG = int(os.environ.get("SOAK_REQUESTS", "200000"))
AT_ONCE = 32
LOOKS = 40  # at memory and handles, on the way
MOST_GROWTH_KIB = 4_096  # see tests.faults.flat
KINDS = {"solve": 50, "batch": 5, "generate": 10, "stream": 10, "malformed": 10, "leaving": 15}
FINE = {200, 413, 422}


class Soak:
    """The requests that were sent and their outcomes, by route."""

    def __init__(self, server: Server, count: int) -> None:
        self.server = server
        self.answered: dict[str, Counter[int]] = {route: Counter() for route in ROUTES}
        self.left: Counter[str] = Counter()
        self.memory_kib: list[float] = []
        self.handles: list[float] = []
        self._count = count
        self._numbers = iter(range(count))
        self._random = random.Random(count)
        self._questions = questions(count)
        self._malformed = ((raw, http) for raw, http in requests(count) if http)

    async def run(self) -> None:
        async with callers(self.server.port, AT_ONCE) as many:
            await asyncio.gather(*map(self._ask_on, many))

    async def _ask_on(self, caller: Caller) -> None:
        for number in self._numbers:
            (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
            raw = self._request(kind)
            route = raw.split(b" ", 2)[1].decode()
            if kind == "leaving":
                await self._leave(caller, raw)
                self.left[route] += 1
            else:
                answer = await caller.send(raw)
                assert answer.status in FINE, (raw[:500], answer)
                assert kind == "malformed" or answer.status == 200, (raw, answer)
                self.answered[route][answer.status] += 1
            if number % (self._count // LOOKS) == 0:
                self.memory_kib.append(self.server.memory_kib())
                self.handles.append(self.server.handles())

    def _request(self, kind: str) -> bytes:
        question = next(self._questions)
        if kind == "malformed":
            return next(self._malformed)[0]
        if kind == "leaving":
            kind = self._random.choice(["solve", "batch", "generate", "stream"])
        if kind == "solve":
            return request("/solve", encoded({"question": question}))
        if kind == "batch":
            batch = {"questions": [question, *islice(self._questions, 7)]}
            return request("/solve/batch", encoded(batch))
        text = {"text": question, "stream": kind == "stream"}
        return request("/generate", encoded(text))

    async def _leave(self, caller: Caller, raw: bytes) -> None:
        """At once, or at some time while the answer is made or comes."""
        await caller.write(raw)
        assert caller.reader is not None
        if self._random.random() < 0.5:
            await caller.reader.read(self._random.randint(1, 400))
        caller.leave()


@pytest.mark.parametrize(
    "count", [SHORT, pytest.param(LONG, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_a_mixed_load_leaves_nothing_behind_and_every_number_agrees(
    tmp_path: Path, count: int
) -> None:
    with serving(tmp_path, workers=2, cached_answers=4096) as server:
        server.solve("x + 1 = 3")
        handles, asked = server.handles(), server.statuses("/solve")
        soak = Soak(server, count)
        asyncio.run(soak.run())
        until(lambda: server.metric("in_flight_requests") == 1, "nothing in flight but this")
        until(lambda: server.handles() <= handles, "their sockets closed")
        assert server.metric("queue_depth") == 0
        for route in ROUTES:
            counted = Counter(server.statuses(route))
            counted.subtract(soak.answered[route])
            counted.subtract(asked if route == "/solve" else {})
            # What remains is of those who left: each once, some answered before that was noticed.
            assert min(counted.values()) >= 0, counted
            assert set(+counted) <= {200, 499}, counted
            assert counted.total() == soak.left[route]
        print(soak.answered, soak.left, soak.memory_kib, soak.handles)
        for reason in ("crashed", "hung"):
            assert server.metric(f'engine_ends_total{{reason="{reason}"}}') == 0
        assert growth(soak.memory_kib) < MOST_GROWTH_KIB, soak.memory_kib
        assert max(soak.handles) <= handles + 2 * AT_ONCE, soak.handles
        _, traceback, rest = server.log.partition("Traceback")
        assert not traceback, rest[:5000]
