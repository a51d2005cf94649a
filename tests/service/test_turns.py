"""A source that always has more leaves the event loop time for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

from service.api.streaming import merged
from service.bulk.reading import of_file
from service.bulk.rows import Row
from service.generating.unfinished import Piece

MANY = 5_000


async def turns_during(source: AsyncIterable[Any]) -> tuple[int, int]:
    """Return the number of the items of `source`, and of another task's turns until its end."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    items = [item async for item in source]
    counting.cancel()
    return len(items), turns


def test_a_stream_that_never_waits_does_not_keep_the_loop() -> None:
    async def pieces() -> AsyncGenerator[Piece, None]:
        for _ in range(MANY):
            yield Piece("a")

    async def main() -> tuple[int, int]:
        return await turns_during(merged([pieces(), pieces()]))

    items, turns = asyncio.run(main())
    assert items == 2 * MANY
    assert turns > MANY / 10


def test_rows_of_a_file_that_are_skipped_do_not_keep_the_loop() -> None:
    async def main() -> tuple[int, int]:
        return await turns_during(of_file(iter([Row({}, "x = 1")] * MANY)))

    items, turns = asyncio.run(main())
    assert items == MANY
    assert turns > MANY / 1000
