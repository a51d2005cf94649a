"""A caller that leaves stops paying: its unfinished work is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from service.errors import CallerGone

Result = TypeVar("Result")


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`, or `CallerGone` with `work` cancelled if the caller disconnects first.

    The body must have been read: what the connection says next is that it is gone.
    """
    working = asyncio.current_task()
    assert working is not None, "not in a task: this is a bug"
    gone = over = False

    def leave(listening: asyncio.Task[None]) -> None:
        nonlocal gone
        # Who leaves in the very turn in which the work ends has this called although it is removed.
        if not over and not listening.cancelled():
            gone = working.cancel()

    listening = asyncio.create_task(_disconnected(request))
    listening.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        # As `asyncio.timeout` does: another's cancellation, should there be one, goes on.
        if gone and working.uncancel() == 0:
            raise CallerGone from None
        raise
    finally:
        over = True
        listening.remove_done_callback(leave)
        listening.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
