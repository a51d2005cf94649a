"""A request of many questions has one deadline."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from service.api.answering import each
from service.errors import DeadlineExceeded, ServiceError
from tests.fakes import Clock
from tests.service.app import Held, application, serve
from tests.simulated import ManualLoop


def outcomes_of(bundle: Path, *, count: int, timeout_s: float) -> list[float | ServiceError]:
    """Each text takes a second of a clock that only this test turns; one runs at a time.

    The results are the seconds that each text had left.
    """
    runtime = application(bundle, max_queue=4).state.runtime
    clock = Clock()
    loop = ManualLoop(clock)

    async def one(_: str, left_s: float) -> float:
        await asyncio.sleep(min(1.0, left_s))
        if left_s < 1.0:
            raise DeadlineExceeded
        return round(left_s, 3)

    work = each(runtime, ["x"] * count, one, timeout_s=timeout_s, in_place=ServiceError)
    task = loop.create_task(work)
    while not task.done():
        clock.now_s += 0.125
        for _ in range(10):  # the late ones pass one by one
            loop.settle()
    loop.close()
    assert clock() - 100.0 <= timeout_s + 0.125
    return task.result()  # type: ignore[return-value]


@pytest.mark.parametrize("count", [1, 3, 50])
def test_all_questions_share_the_time_that_is_left(bundle: Path, count: int) -> None:
    outcomes = outcomes_of(bundle, count=count, timeout_s=3.5)
    assert [outcome for outcome in outcomes if isinstance(outcome, float)] == [3.5, 2.5, 1.5][
        :count
    ]
    late = outcomes[3:]
    assert all(isinstance(outcome, DeadlineExceeded) for outcome in late)


def test_late_questions_of_a_batch_get_504(bundle: Path) -> None:
    """Questions that had not begun get it too, and are counted like the others."""
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        body = {"questions": [f"x = {n}" for n in range(9)] + ["no equation"], "timeout_ms": 20}
        response = await client.post("/solve/batch", json=body)
        assert response.status_code == 200
        results = response.json()["results"]
        assert [result["status"] for result in results] == [504] * 10
        text = (await client.get("/metrics")).text
        assert 'cybersolve_abandoned_total{reason="deadline"} 10.0' in text
        engine.gate.set()

    serve(bundle, scenario, engine=engine, max_queue=4)


def test_a_tensor_of_questions_that_is_late_is_504(bundle: Path) -> None:
    engine = Held(bundle)

    async def scenario(client: httpx.AsyncClient) -> None:
        tensor = {
            "name": "question",
            "datatype": "BYTES",
            "shape": [9],
            "data": [f"x = {n}" for n in range(9)],
        }
        body = {"inputs": [tensor], "parameters": {"timeout_ms": 20}}
        path = "/v2/models/tiny/infer"
        response = await client.post(path, json=body)
        assert response.status_code == 504
        text = (await client.get("/metrics")).text
        assert 'cybersolve_abandoned_total{reason="deadline"} 1.0' in text
        engine.gate.set()

    serve(bundle, scenario, engine=engine, max_queue=4)
