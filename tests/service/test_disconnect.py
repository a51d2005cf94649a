"""A caller that leaves: what it asked is given up, and nothing else."""

from __future__ import annotations

import asyncio

from fastapi import Request

from service.api.disconnect import while_connected


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
