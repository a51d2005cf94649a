"""Read rows in an event loop: those of a file directly, those of a pipe from a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from service.bulk.rows import Row

_AHEAD = 256  # rows read ahead from a pipe
_TURN = 256  # rows of a file between two turns of the event loop


async def of_file(rows: Iterator[Row]) -> AsyncIterator[Row]:
    """Yield `rows`, and give the event loop a turn now and then.

    A reader that skips most of them, as a resumed run does, would otherwise keep it from the
    engines' reports and from signals.
    """
    for number, row in enumerate(rows, 1):
        yield row
        if number % _TURN == 0:
            await asyncio.sleep(0)


async def of_pipe(rows: Iterator[Row]) -> AsyncIterator[Row]:
    """Yield `rows`, which may block, without blocking the event loop.

    A daemon thread reads, so that the program can exit without waiting for the pipe.
    """
    loop = asyncio.get_running_loop()
    read: asyncio.Queue[Row | Exception | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)

    def put(row: Row | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: the rows are not needed any more
            loop.call_soon_threadsafe(read.put_nowait, row)

    def run() -> None:
        try:
            for row in rows:
                room.acquire()
                put(row)
        except Exception as error:  # raised again where the rows are used
            put(error)
        else:
            put(None)

    threading.Thread(target=run, daemon=True, name="bulk-input").start()
    while (row := await read.get()) is not None:
        if isinstance(row, Exception):
            raise row
        room.release()
        yield row
