"""Stream the answers to one or several texts as server-sent events, in any API's form."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

from fastapi import Request

from service.api.answering import runtime_of, slots_of
from service.api.disconnect import while_connected
from service.api.events import EventStream
from service.api.generation import rows_of
from service.api.record import record_of
from service.errors import DeadlineExceeded, ServiceError
from service.generating.generator import GenerationRequest
from service.generating.unfinished import Ending, Piece
from service.runtime import Runtime

_Item = Piece | Ending


class EventForm(Protocol):
    """The form of an API's events. `index` is that of the text."""

    def events(self, index: int, item: Piece | Ending) -> Iterator[bytes]:
        """Yield the events for a piece of a text, or for its rest with the whole answer."""
        ...

    def end(self) -> Iterator[bytes]:
        """Yield the events after the last answer."""
        ...

    def failure(self, error: ServiceError) -> bytes:
        """Return the event for an error after the first event."""
        ...


async def stream(
    request: Request, asked: Sequence[GenerationRequest], limit_s: float, form: EventForm
) -> EventStream:
    """Return the events for the answers to `asked`.

    An error before the first event is raised, so that it gets its own status.
    """
    events = _events(request, asked, limit_s, form)
    first = await while_connected(request, _next(events))
    return EventStream(first, events)


async def _events(
    request: Request, asked: Sequence[GenerationRequest], limit_s: float, form: EventForm
) -> AsyncGenerator[bytes, None]:
    runtime, record, begun = runtime_of(request), record_of(request), False
    with runtime.admission.request():
        slots = slots_of(runtime, rows_of(asked))
        streams = [_generated(runtime, one, slots, limit_s, wait=len(asked) > 1) for one in asked]
        try:
            async with aclosing(merged(streams)) as news:
                async for index, item in news:
                    if isinstance(item, Ending):
                        record.timings = item.written.timings
                    for event in form.events(index, item):
                        yield event
                        begun = True
            for event in form.end():
                yield event
        except ServiceError as error:
            if not begun:
                raise
            yield form.failure(error)


async def _generated(
    runtime: Runtime,
    asked: GenerationRequest,
    slots: asyncio.Semaphore,
    limit_s: float,
    *,
    wait: bool,
) -> AsyncGenerator[_Item, None]:
    """Yield the pieces and the answer once a slot is free, within `limit_s` from now."""
    started_s = asyncio.get_running_loop().time()
    async with slots:
        left_s = started_s + limit_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            runtime.metrics.abandoned("deadline")
            raise DeadlineExceeded
        async with aclosing(runtime.generator.stream(asked, timeout_s=left_s, wait=wait)) as items:
            async for item in items:
                yield item


async def merged(
    streams: Sequence[AsyncGenerator[_Item, None]],
) -> AsyncGenerator[tuple[int, _Item], None]:
    """Yield the items of all `streams` as they come, each with its stream's index.

    Raises the first error of any of them.
    """
    # It holds one item, so that a stream that always has more waits for its reader: without a wait
    # the event loop would not come to anything else, the client's departure included.
    news: asyncio.Queue[tuple[int, _Item | Exception | None]] = asyncio.Queue(maxsize=1)

    async def drain(index: int, stream: AsyncGenerator[_Item, None]) -> None:
        end: Exception | None = None
        try:
            async with aclosing(stream):
                async for item in stream:
                    await news.put((index, item))
        except Exception as error:
            end = error
        await news.put((index, end))

    tasks = [asyncio.create_task(drain(*numbered)) for numbered in enumerate(streams)]
    try:
        left = len(tasks)
        while left:
            index, item = await news.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                left -= 1
            else:
                yield index, item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(events: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(events)
