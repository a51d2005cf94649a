"""An open loop of questions with a deadline: sent when due, whatever became of those before."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from loadtest.figures import percentile
from tests.faults.caller import Caller, NoAnswer, questions

DEADLINE_S = 2.0
LATE_S = 0.5  # allowed on top, for the way there and back on a busy machine


@dataclass
class Step:
    """The outcomes of the requests that were due in some seconds."""

    rate: float
    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)  # of the answers

    @property
    def goodput(self) -> float:
        """Answers in time, a second."""
        in_time = sum(latency_s <= DEADLINE_S + LATE_S for latency_s in self.latencies_s)
        return in_time / self.seconds

    @property
    def missed(self) -> float:
        """Share of those accepted that were not answered in time."""
        accepted = self.statuses.total() - self.statuses[429]
        return 1 - self.goodput * self.seconds / max(1, accepted)

    def row(self) -> str:
        times = [f"{1000 * percentile(self.latencies_s, q):.0f}" for q in (0.5, 0.99)]
        refused = self.statuses[429] / self.statuses.total()
        figures = [
            f"{self.rate:.0f}",
            f"{self.goodput:.0f}",
            f"{refused:.1%}",
            f"{self.missed:.1%}",
        ]
        return " | ".join([*figures, *times])


class Pool:
    """Connections, as many as are in use at once."""

    def __init__(self, port: int, seed: int = 0) -> None:
        self._port = port
        self._free: list[Caller] = []
        self._questions: Iterator[str] = questions(seed)

    async def ask(self, step: Step) -> None:
        body = {"question": next(self._questions), "timeout_ms": int(1000 * DEADLINE_S)}
        caller = self._free.pop() if self._free else Caller(self._port)
        started_s = time.perf_counter()
        try:
            status = (await caller.ask("/solve", body)).status
        except NoAnswer:
            status = 0
        step.statuses[status] += 1
        if status == 200:
            step.latencies_s.append(time.perf_counter() - started_s)
        self._free.append(caller)

    def leave(self) -> None:
        for caller in self._free:
            caller.leave()


async def at_rate(pool: Pool, rate: float, seconds: float) -> Step:
    """Evenly; returns when all have been answered."""
    step, origin_s = Step(rate, seconds), time.perf_counter()
    async with asyncio.TaskGroup() as asked:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, origin_s + number / rate - time.perf_counter()))
            asked.create_task(pool.ask(step))
    return step


async def closed(pool: Pool, callers: int, seconds: float) -> Step:
    """So many callers that wait for their answers: what the service sustains."""
    step, end_s = Step(0.0, seconds), time.perf_counter() + seconds

    async def one() -> None:
        while time.perf_counter() < end_s:
            await pool.ask(step)

    await asyncio.gather(*(one() for _ in range(callers)))
    return step
