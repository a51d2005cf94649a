"""Cancel the unfinished work of a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request

from service.connection import CONNECTION, Connection
from service.errors import ClientDisconnected

Result = TypeVar("Result")


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`; cancel it and raise `ClientDisconnected` on a disconnect.

    The body must have been read: the next message of the connection is then its disconnect.
    """
    working = asyncio.current_task()
    assert working is not None, "not in a task: this is a bug"
    disconnected = over = False

    def leave() -> None:
        nonlocal disconnected
        # A disconnect in the turn in which the work ends calls this although it is removed.
        if not over:
            disconnected = working.cancel()

    stop_listening = _listen(request, leave)
    try:
        return await work
    except asyncio.CancelledError:
        # As in `asyncio.timeout`: a cancellation by someone else is not swallowed.
        if disconnected and working.uncancel() == 0:
            raise ClientDisconnected from None
        raise
    finally:
        over = True
        stop_listening()


def _listen(request: Request, leave: Callable[[], None]) -> Callable[[], object]:
    """Call `leave` at the disconnect, until the function that this returns is called."""
    connection: Connection | None = request.scope.get("state", {}).get(CONNECTION)
    if connection is None:  # another server than ours
        listening = asyncio.create_task(_disconnected(request))
        listening.add_done_callback(lambda task: None if task.cancelled() else leave())
        return listening.cancel
    if connection.lost:
        return asyncio.get_running_loop().call_soon(leave).cancel
    connection.add(leave)
    return lambda: connection.remove(leave)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
