"""Who is refused before any work: while the queue is full, without an engine, or at the end."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import problems
from service.errors import ServiceError


class Admission:
    """Answers what `refusal` says to a request that asks an engine, unread and unparsed.

    So a refusal costs little, and who is refused by the thousand cannot take the processor from
    those who are answered. What asks an engine is a `POST`; the rest always passes.
    """

    def __init__(self, app: ASGIApp, refusal: Callable[[], ServiceError | None]) -> None:
        self._app = app
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            refused = self._refusal()
            if refused is not None:
                answer = problems.refused(refused, scope["state"]["request_id"])
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
