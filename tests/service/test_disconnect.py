"""A caller that leaves: what it asked is given up, and nothing else."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request

from service.api.disconnect import while_connected
from service.connection import CONNECTION, Connection
from service.errors import ClientDisconnected


def test_a_disconnect_as_the_answer_arrives_cancels_nothing_after_it() -> None:
    """Both in one turn of the event loop: the answer is taken, and its sending goes on."""

    async def both_at_once() -> int:
        moment = asyncio.Event()

        async def receive() -> dict[str, str]:
            await moment.wait()
            return {"type": "http.disconnect"}

        async def work() -> int:
            for _ in range(3):  # so that the listener waits for the moment first
                await asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(moment.set)
            await moment.wait()
            return 7

        answer = await while_connected(Request({"type": "http"}, receive), work())
        for _ in range(3):
            await asyncio.sleep(0)  # as sending may wait
        return answer

    assert asyncio.run(both_at_once()) == 7


async def turns() -> None:
    """Work of a few turns of the event loop."""
    for _ in range(5):
        await asyncio.sleep(0)


def over(connection: Connection) -> Request:
    return Request({"type": "http", "state": {CONNECTION: connection}})


def test_a_lost_connection_cancels_the_work() -> None:
    async def lost_meanwhile() -> None:
        connection = Connection(lambda: None)
        asyncio.get_running_loop().call_soon(connection.lose)
        await while_connected(over(connection), turns())

    with pytest.raises(ClientDisconnected):
        asyncio.run(lost_meanwhile())


def test_a_connection_that_was_lost_before_cancels_the_work() -> None:
    async def lost_before() -> None:
        connection = Connection(lambda: None)
        connection.lose()
        await while_connected(over(connection), turns())

    with pytest.raises(ClientDisconnected):
        asyncio.run(lost_before())


def test_a_connection_lost_after_the_answer_cancels_nothing() -> None:
    async def answered() -> int:
        connection = Connection(lambda: None)
        answer = await while_connected(over(connection), asyncio.sleep(0, 7))
        connection.lose()
        await asyncio.sleep(0)
        return answer

    assert asyncio.run(answered()) == 7


def test_a_callback_that_was_removed_is_not_called() -> None:
    called: list[str] = []
    connection = Connection(lambda: None)

    def one() -> None:
        called.append("one")

    connection.add(one)
    connection.add(lambda: called.append("other"))
    connection.remove(one)
    connection.lose()
    assert called == ["other"]


def test_work_makes_the_server_read_the_connection_which_may_be_paused() -> None:
    reads: list[bool] = []
    connection = Connection(lambda: reads.append(True))
    asyncio.run(while_connected(over(connection), asyncio.sleep(0)))
    assert reads
