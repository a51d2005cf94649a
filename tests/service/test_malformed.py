"""Whatever a stranger sends, the real server answers with a problem and shows no internals."""

from __future__ import annotations

import re
from pathlib import Path

from tests.service.sockets import Reply, Wire, listen

POST = b"POST /solve HTTP/1.1\r\nhost: test\r\nconnection: close\r\n"
JSON = POST + b"content-type: application/json\r\n"
QUESTION = b'{"question": "x = 1"}'
INTERNALS = re.compile(
    rb"Traceback|\.py|Error\b|Exception|pydantic|fastapi|starlette|uvicorn|httptools|dictionary|"
    rb"NoneType|<class|object at"
)


def sized(head: bytes, body: bytes) -> bytes:
    return head + b"content-length: %d\r\n\r\n" % len(body) + body


HEADS = {  # the start of a request, and the status of its answer
    b"BREW / HTTP/1.1\r\n\r\n": 400,
    b"GET /\xff HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/9.9\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n": 400,
    b"CONNECT a:80 HTTP/1.1\r\n\r\n": 400,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": 400,
    b"\x16\x03\x01\x02\x00\x01\x00\x01": 400,  # TLS
    JSON + b"content-length: 21\r\ncontent-length: 22\r\n\r\n" + QUESTION: 400,
    JSON + b"content-length: 21\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n": 400,
    JSON + b"content-length: -1\r\n\r\n": 400,
    JSON + b"content-length: 99999999999999999999\r\n\r\n": 400,
    JSON + b"transfer-encoding: chunked\r\n\r\nzz\r\n\r\n": 400,
    b"GET /%ff%00%0a HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n": 404,
    b"GET /solve/ HTTP/1.1\r\nhost: elsewhere.test\r\nconnection: close\r\n\r\n": 404,
    b"OPTIONS * HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n": 404,
    b"DELETE /solve HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n": 405,
    b"OPTIONS /solve HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n": 405,
    b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n": 400,  # no Host
}
BODIES = (
    b"",
    b"{",
    QUESTION + b" and more",
    b'{"question": "\xff"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"question": NaN}',
    b'{"question": "x = 1", "timeout_ms": NaN}',
    b'{"question": "x = 1", "timeout_ms": 1e999}',
    b'{"question": "x = 1", "timeout_ms": ' + b"9" * 5000 + b"}",
    b'{"\\ud800": 1, "question": "x = 1"}',
    b'{"question": "\\ud800"}',
    b'{"question": "x = 1", "fallback": "\\ud800"}',
    b'{"question": "x = 1", "fallback": {}}',
    b'{"' + b"k" * 100_000 + b'": 1, "question": "x = 1"}',
    b"null",
    b"[]",
    b'"x = 1"',
)


def test_what_is_no_request_is_a_problem(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        for sent, status in HEADS.items():
            received = await wire.exchange(sent)
            assert Reply.read(received).problem()["status"] == status, sent
            assert not INTERNALS.search(received), sent

    listen(bundle, scenario)


def test_what_is_no_question_is_a_problem(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        for body in BODIES:
            received = await wire.exchange(sized(JSON, body))
            assert Reply.read(received).problem()["status"] == 422, body[:80]
            assert not INTERNALS.search(received), body[:80]
            assert len(received) < 2_000

    listen(bundle, scenario)


def test_a_body_of_another_type_says_which_type_is_expected(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        for head in (
            POST,
            POST + b"content-type: text/plain\r\n",
            POST + b"content-type: \xff\r\n",
        ):
            problem = Reply.read(await wire.exchange(sized(head, QUESTION))).problem()
            assert problem["status"] == 422
            (error,) = problem["errors"]
            assert error["message"] == (
                "expected a JSON object, and content-type: application/json"
            )

    listen(bundle, scenario)
