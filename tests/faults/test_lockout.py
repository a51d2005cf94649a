"""Callers that disconnect, batches and open connections must not lock the others out."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from itertools import islice
from pathlib import Path

import pytest

from tests.faults.caller import Caller, NoAnswer, callers, encoded, questions, request
from tests.faults.server import Server, gone, serving, until
from tests.faults.slow_model import slow_bundle

IMPATIENT = 4
RUDE_S = 8.0  # long enough for an estimate learned from answers alone to grow past any deadline
HANDLES = 128


async def disconnect_early(server: Server, usual_s: float, seed: int, until_s: float) -> None:
    """Send questions, and close each connection after a third of the usual time."""
    for question in questions(seed):
        if time.monotonic() > until_s:
            return
        caller = Caller(server.port)
        await caller.write(request("/solve", encoded({"question": question})))
        await asyncio.sleep(usual_s / 3)
        caller.leave()


def test_callers_that_disconnect_early_do_not_lock_out_the_others(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = slow_bundle(tmp_path_factory.mktemp("slow"))
    with serving(tmp_path, model=model, workers=1, max_batch_rows=4, max_tries=1) as server:
        started_s = time.monotonic()
        assert server.solve("x + 1 = 3").status_code == 200
        usual_s = time.monotonic() - started_s

        async def load() -> list[int]:
            until_s = time.monotonic() + RUDE_S
            await asyncio.gather(
                *(disconnect_early(server, usual_s, seed, until_s) for seed in range(IMPATIENT))
            )
            async with callers(server.port, 12) as patient:
                asked = [
                    caller.ask("/solve", {"question": question, "timeout_ms": 10_000})
                    for caller, question in zip(patient, questions(99), strict=False)
                ]
                return [answer.status for answer in await asyncio.gather(*asked)]

        assert asyncio.run(load()) == [200] * 12


def test_a_batch_keeps_one_deadline(tmp_path: Path) -> None:
    """One row of one engine takes far longer than this for a thousand questions."""
    with serving(tmp_path, workers=1, max_batch_rows=1, max_tries=1) as server:
        body = {"questions": list(islice(questions(), 1000)), "timeout_ms": 1000}

        async def ask() -> list[int]:
            async with callers(server.port, 1) as (caller,):
                answer = await caller.ask("/solve/batch", body)
            assert answer.status == 200
            return [result.get("status", 200) for result in answer.json()["results"]]

        started_s = time.monotonic()
        statuses = asyncio.run(ask())
        assert time.monotonic() - started_s < 4.0
        assert set(statuses) == {200, 504}
        # One that began while the machine stalled may have a moment more than those before it.
        late = statuses[statuses.index(504) :]
        assert late.count(200) <= 2, "questions were given up before their turn"
        assert server.solve("x + 1 = 3").json()["answer"] == "2"


def test_at_the_limit_of_handles_connections_are_refused_and_engines_restart(
    tmp_path: Path,
) -> None:
    """The limit falls while the service runs: the limit of connections, set at the start, is no
    help.
    """
    with serving(tmp_path, workers=1) as server:
        _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (HANDLES, hard))

        async def crowd() -> None:
            async with callers(server.port, 2 * HANDLES) as many:
                kept = []
                for caller in many:
                    try:
                        assert (await caller.get("/livez")).status == 200
                    except NoAnswer:
                        continue
                    kept.append(caller)
                assert HANDLES / 3 < len(kept) < HANDLES
                (struck,) = server.engines()
                server.signal_engines(signal.SIGKILL)
                await asyncio.to_thread(until, lambda: gone(struck), "the end of the engine")
                while (await kept[0].get("/readyz")).status != 200:
                    await asyncio.sleep(0.02)
                answer = await kept[0].ask("/solve", {"question": "x + 1 = 3"})
                assert answer.json()["answer"] == "2"
                said = f"pid {struck} was killed by SIGKILL"
                await asyncio.to_thread(until, lambda: said in server.log, "a line of the log")

        started_s = time.monotonic()
        asyncio.run(crowd())
        elapsed_s = time.monotonic() - started_s
        assert 1 <= server.log.count("too few file handles") <= elapsed_s + 1
        assert "connections: there are" not in server.log  # the limit of connections is far
        until(server.ready, "connections accepted again")
        assert "Traceback" not in server.log
