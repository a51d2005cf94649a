"""Signals under load: nothing accepted is lost, nobody new is let in, and the end comes in time."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.caller import Caller, NoAnswer, callers, encoded, questions, request
from tests.faults.server import Server, gone, serving, until

MANY = 100
CLOSING_S = 5.0 + 5.0  # for an engine that hears nothing, and for answers on their way out
ONE_AND_TWO = pytest.mark.parametrize("processes", [1, 2])
SLACK_S = 20.0  # of a machine that has more to do


async def accepted(server: Server, many: list[Caller]) -> None:
    """All have asked, and wait: one in each engine, which stands still, the rest in the queue."""
    server.signal_engines(signal.SIGSTOP)
    for number, (caller, question) in enumerate(zip(many, questions(), strict=False)):
        body: dict[str, object] = {"question": question}
        if number % 10 == 0:
            body = {"text": question, "stream": True}
        path = "/generate" if "text" in body else "/solve"
        await caller.write(request(path, encoded(body)))
    depth = len(many) - len(server.engines())
    await asyncio.to_thread(until, lambda: server.metric("queue_depth") == depth, "all accepted")


@ONE_AND_TWO
def test_accepted_requests_are_answered_and_new_ones_get_503(
    tmp_path: Path, processes: int
) -> None:
    async def scenario(server: Server) -> None:
        async with callers(server.port, MANY) as many, callers(server.port, 2) as others:
            await accepted(server, many)
            late, probe = others
            assert (await late.get("/readyz")).status == 200
            for _ in range(2):  # the second changes nothing
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(until, lambda: not server.ready(), "unready")
            refusal = await late.ask("/solve", {"question": "x + 1 = 3"})  # on a connection of old
            assert (refusal.status, refusal.headers["retry-after"]) == (503, "1")
            assert (await probe.get("/readyz")).status == 503  # on a new one: it still listens
            assert (await probe.get("/livez")).status == 200
            server.signal_engines(signal.SIGCONT)
            answers = await asyncio.gather(*(caller.answer() for caller in many))
            assert Counter(answer.status for answer in answers) == {200: MANY}
            assert all(b"event: done" in answer.body for answer in answers[::10])

    with serving(tmp_path, processes=processes, workers=processes, max_batch_rows=1) as server:
        asyncio.run(scenario(server))
        assert server.ended() == -signal.SIGTERM
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("hastened", "processes"),
    [(False, 1), (True, 1), (True, 2)],
    ids=["by the bound", "by a second Ctrl-C", "by a second Ctrl-C, two processes"],
)
def test_requests_that_outlast_the_drain_get_503_within_the_bound(
    tmp_path: Path, hastened: bool, processes: int
) -> None:
    """The engines hang and never come back."""
    drain_s = 600.0 if hastened else 1.0

    async def scenario(server: Server) -> None:
        async with callers(server.port, MANY) as many:
            await accepted(server, many)
            server.process.send_signal(signal.SIGINT if hastened else signal.SIGTERM)
            if hastened:
                await asyncio.to_thread(until, lambda: not server.ready(), "unready")
                server.process.send_signal(signal.SIGINT)
            answers = await asyncio.gather(*(caller.answer() for caller in many))
            assert Counter(answer.status for answer in answers) == {503: MANY}

    limits: dict[str, Any] = {"max_batch_rows": 1, "drain_timeout_s": drain_s}
    with serving(tmp_path, processes=processes, workers=processes, **limits) as server:
        engines = server.engines()
        started = time.monotonic()
        asyncio.run(scenario(server))
        assert server.ended() == (0 if hastened else -signal.SIGTERM)
        assert time.monotonic() - started < 1.0 + CLOSING_S + SLACK_S
        until(lambda: all(map(gone, engines)), "the hung engines killed")
        assert "Traceback" not in server.log


@ONE_AND_TWO
def test_under_a_load_that_goes_on_each_request_has_one_end(tmp_path: Path, processes: int) -> None:
    """Callers that ask without a pause: 200 before, 503 after, and then no connection; who was
    being answered when the signal came has the answer.

    One of two processes may still answer when the other already refuses.
    """

    async def ask(server: Server, caller: Caller, seed: int) -> list[int]:
        statuses = []
        for question in questions(seed):
            try:
                statuses.append((await caller.ask("/solve", {"question": question})).status)
            except NoAnswer:
                return statuses
        raise AssertionError("questions have no end")

    async def scenario(server: Server) -> None:
        async with callers(server.port, 32) as many:
            asking = [
                asyncio.create_task(ask(server, caller, seed)) for seed, caller in enumerate(many)
            ]
            enough = 200
            await asyncio.to_thread(
                until, lambda: server.statuses("/solve").get(200, 0) > enough, "a load"
            )
            server.process.terminate()
            for statuses in await asyncio.gather(*asking):
                turn = statuses.count(200)
                assert set(statuses) <= {200, 503}
                if processes == 1:
                    assert statuses == [200] * turn + [503] * (len(statuses) - turn)

    with serving(tmp_path, processes=processes, workers=processes) as server:
        asyncio.run(scenario(server))
        assert server.ended() == -signal.SIGTERM
        assert "Traceback" not in server.log
