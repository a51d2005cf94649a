"""Pooled connections at the end: told to close in time, answered to the last, never reset."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.faults.caller import Answer, Caller, NoAnswer, callers, questions
from tests.faults.server import LONG_S, Server, serving, until

POOLED = 60
FEW = 3
PAUSE_S = 0.2  # at most, between two requests of a client; the last one has 2 s


async def last(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return the answer that closes its connection.

    One HTTP process of several learns of the end a moment before another, and answers until then.
    """
    async with asyncio.timeout(LONG_S):
        while "connection" not in (answer := await ask()).headers:
            pass
    return answer


@pytest.mark.parametrize("processes", [1, 2])
def test_before_the_end_answers_close_their_connections(tmp_path: Path, processes: int) -> None:
    """SIGUSR1, which a preStop hook sends: unready, but what is asked is answered."""

    async def scenario(server: Server) -> None:
        async with callers(server.port, 3) as (solving, probing, other):
            question = {"question": "x + 1 = 3"}
            assert "connection" not in (await solving.ask("/solve", question)).headers
            assert "connection" not in (await probing.get("/readyz")).headers
            server.process.send_signal(signal.SIGUSR1)
            await asyncio.to_thread(until, lambda: not server.ready(), "unready")
            for caller in (solving, other):
                answer = await last(partial(caller.ask, "/solve", question))
                assert (answer.status, answer.headers["connection"]) == (200, "close")
            refusal = await last(lambda: probing.get("/readyz"))
            assert (refusal.status, refusal.headers["connection"]) == (503, "close")

    with serving(tmp_path, processes=processes, workers=processes) as server:
        asyncio.run(scenario(server))
        server.process.terminate()
        assert server.ended() == -signal.SIGTERM
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("number", "processes"), [(signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGTERM, 2)]
)
def test_no_request_of_a_pooled_connection_is_lost_at_the_end(
    tmp_path: Path, number: signal.Signals, processes: int
) -> None:
    """Clients that pause between requests: most of their connections are idle at the signal.

    A connection that is made in the instant in which the listener closes may be reset; few are.
    """
    reset_at_once: list[int] = []

    async def ask(caller: Caller, seed: int, asking: asyncio.Event) -> list[int]:
        source, statuses = random.Random(seed), list[int]()
        for question in questions(seed):
            if fresh := caller.writer is None:
                try:
                    await caller.write(b"")
                except ConnectionRefusedError:
                    return statuses
                except ConnectionResetError:
                    reset_at_once.append(seed)
                    return statuses
            try:
                answer = await caller.ask("/solve", {"question": question})
            except NoAnswer as lost:
                if not fresh:
                    raise AssertionError("a pooled connection's request was not answered") from lost
                reset_at_once.append(seed)
                return statuses
            statuses.append(answer.status)
            if answer.status == 503:
                assert answer.headers["connection"] == "close"
            asking.set()
            await asyncio.sleep(source.uniform(0, PAUSE_S))
        raise AssertionError("questions have no end")

    async def scenario(server: Server) -> None:
        async with callers(server.port, POOLED) as many:
            begun = [asyncio.Event() for _ in many]
            clients = [
                asyncio.create_task(ask(caller, seed, event))
                for seed, (caller, event) in enumerate(zip(many, begun, strict=True))
            ]
            began = asyncio.gather(*(event.wait() for event in begun))
            # A client that ends before its first answer fails the test, not its wait.
            waited: list[asyncio.Future[Any]] = [began, *clients]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            ended = [client.result() for client in clients if client.done()]
            assert not ended, "a client ended before the signal"
            server.process.send_signal(number)
            for statuses in await asyncio.gather(*clients):
                assert set(statuses) <= {200, 503}
            assert len(reset_at_once) <= FEW

    with serving(tmp_path, processes=processes, workers=processes) as server:
        asyncio.run(scenario(server))
        assert server.ended() == -number
        assert "connections waited in the backlog" in server.log
        assert "Traceback" not in server.log
