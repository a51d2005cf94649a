"""Backends that answer the questions of a bulk run: the engines of this machine, or a package.

A package offers a backend as an entry point of the group `cybersolve.bulk_backends`. It is called
with the questions, the settings and an address, and yields the result of each question, in any
order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import aclosing
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from service.bulk.answering import answers, running
from service.bulk.rows import BulkError
from service.runtime import load_model
from service.settings import Settings
from service.solving import Fallback

GROUP = "cybersolve.bulk_backends"
Numbered = tuple[int, str]  # a question and its index in the run
Result = tuple[int, dict[str, Any]]  # the keys that it adds, or an `error`


class Backend(Protocol):
    def __call__(
        self,
        questions: AsyncIterable[Numbered],
        settings: Settings,
        fallback: Fallback,
        address: str | None,
    ) -> AsyncGenerator[Result, None]:
        """Yield a result for each question."""


async def local(
    questions: AsyncIterable[Numbered],
    settings: Settings,
    fallback: Fallback,
    address: str | None = None,
) -> AsyncGenerator[Result, None]:
    """Answer with engines of this machine, in order."""
    indexes: deque[int] = deque()

    async def texts() -> AsyncIterator[str]:
        async for index, question in questions:
            indexes.append(index)
            yield question

    async with (
        running(settings, load_model(settings, one_attempt=True)) as runtime,
        aclosing(answers(runtime, texts(), fallback)) as results,
    ):
        async for result in results:
            yield indexes.popleft(), result


def backend(name: str, installed: Iterable[EntryPoint] | None = None) -> Backend:
    """Return the backend `name`. Raises `BulkError` where it is not installed."""
    known = entry_points(group=GROUP) if installed is None else installed
    for point in known:
        if point.name == name:
            try:
                found: Backend = point.load()
            except ImportError as error:
                raise BulkError(f"--{name} needs the extra `{name}`: {error}") from error
            return found
    raise BulkError(f"--{name}: this installation has no bulk backend `{name}`")
