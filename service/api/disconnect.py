"""Cancel the unfinished work of a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request

from service.errors import ClientDisconnected

Result = TypeVar("Result")


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`; cancel it and raise `ClientDisconnected` on a disconnect.

    The body must have been read: the next message of the connection is then its disconnect.
    """
    working = asyncio.current_task()
    assert working is not None, "not in a task: this is a bug"
    disconnected = over = False

    def leave(listening: asyncio.Task[None]) -> None:
        nonlocal disconnected
        # A disconnect in the turn in which the work ends calls this although it is removed.
        if not over and not listening.cancelled():
            disconnected = working.cancel()

    listening = asyncio.create_task(_disconnected(request))
    listening.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        # As in `asyncio.timeout`: a cancellation by someone else is not swallowed.
        if disconnected and working.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        over = True
        listening.remove_done_callback(leave)
        listening.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
