"""The fast path answers as the framework does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request, Response
from opentelemetry.sdk.trace import TracerProvider
from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

from service.api.middleware.fast_path import FastPath, FastRoute
from service.errors import ClientDisconnected, Overloaded
from tests.service.app import serve

LONG = {"content-type": "application/json; charset=utf-8"}  # which only the framework reads
SHORT = {"content-type": "application/json"}
BODIES = (
    b'{"question": "3x + 5 = 20"}',
    b'{"question": "2 = 2x + 3", "fallback": "exact", "timeout_ms": 9000}',
    b'\xef\xbb\xbf{"question": "x = 1"}',
    '{"question": "x = 1"}'.encode("utf-16"),
    b'{"question": "x = 1", "question": "x = 2"}',
    '{"question": "\u22124 \u00d7 c = 8"}'.encode(),
    b'{"question": "3x + = 20"}',
    b'{"question": "x*x = 4"}',
    b'{"question": "x = \\ud83d\\ude00"}',
    b'{"question": "x = \\ud83d"}',
    b'{"question": "x = 1", "timeout_ms": 0}',
    b'{"question": "x = 1", "timeout_ms": 1.0}',
    b'{"question": "x = 1", "timeout_ms": "5"}',
    b'{"question": "x = 1", "timeout_ms": true}',
    b'{"question": "x = 1", "fallback": "none", "more": 1}',
    b'{"question": 1}',
    b'{"question": NaN}',
    b"{}",
    b"[]",
    b"",
    b"{",
    b"\xff",
    b"[" * 5000,
)


@pytest.mark.parametrize("body", BODIES)
def test_both_ways_answer_alike(bundle: Path, body: bytes) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        short = await client.post("/solve", content=body, headers=SHORT)
        long = await client.post("/solve", content=body, headers=LONG)
        assert short.status_code == long.status_code, short.text
        assert _lasting(short.json()) == _lasting(long.json())
        assert _lasting(dict(short.headers)) == _lasting(dict(long.headers))

    serve(bundle, scenario)


class Asked(BaseModel):
    number: int


class Around:
    """Return a fast path to `/asked`, in front of an application that receives the body."""

    def __init__(self) -> None:
        self.behind: list[bytes] = []
        self.sent: list[Message] = []
        self.error: Exception | None = None
        self._way = FastPath(self._app, {"/asked": FastRoute(Asked, self._answer)})

    async def _answer(self, body: Asked, _: Request) -> Response:
        if self.error is not None:
            raise self.error
        return Response(str(body.number))

    async def _app(self, _: Scope, receive: Receive, __: Send) -> None:
        self.behind.append((await receive())["body"])
        assert (await receive())["type"] == "http.disconnect"

    def ask(self, body: bytes, *, kind: bytes = b"application/json", **scope: Any) -> None:
        """One request, whose caller has left once it is read."""
        messages: list[Message] = [
            {"type": "http.request", "body": body, "more_body": False},
            {"type": "http.disconnect"},
        ]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            self.sent.append(message)

        headers = [(b"content-type", kind)]
        state = {"request_id": "1"}
        plain = {"type": "http", "method": "POST", "path": "/asked", "headers": headers}
        asyncio.run(self._way({**plain, "state": state, **scope}, receive, send))

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status


def test_what_is_plain_goes_the_short_way() -> None:
    around = Around()
    around.ask(b'{"number": 5}')
    assert around.status == 200
    assert around.sent[1]["body"] == b"5"
    assert not around.behind


@pytest.mark.parametrize(
    "otherwise",
    [
        {"body": b'{"number": "five"}'},
        {"body": b"{"},
        {"kind": b"text/plain"},
        {"kind": b"application/json; charset=utf-8"},
        {"method": "PUT"},
        {"path": "/asked/"},
    ],
)
def test_whatever_else_goes_the_long_way_with_its_body(otherwise: dict[str, Any]) -> None:
    around = Around()
    request = {"body": b'{"number": 5}', **otherwise}
    around.ask(**request)
    assert around.behind == [request["body"]]
    assert not around.sent


def test_what_is_traced_goes_the_long_way() -> None:
    around = Around()
    with TracerProvider().get_tracer("test").start_as_current_span("asked"):
        around.ask(b'{"number": 5}')
    assert around.behind == [b'{"number": 5}']


@pytest.mark.parametrize(("error", "status"), [(Overloaded(7.2), 429), (ClientDisconnected(), 499)])
def test_errors_have_their_answers(error: Exception, status: int) -> None:
    around = Around()
    around.error = error
    around.ask(b'{"number": 5}')
    assert around.status == status
    assert dict(around.sent[0]["headers"]).get(b"retry-after") == (b"8" if status == 429 else None)


def _lasting(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a response that are equal each time."""
    passing = ("timing_ms", "x-request-id", "content-length")
    return {
        name: value
        for name, value in answer.items()
        if name not in passing and not name.endswith("-time")
    }
