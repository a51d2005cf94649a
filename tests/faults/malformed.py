"""Bodies and requests that nobody should send, without end and the same for the same seed. Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from tests.faults.caller import questions, request

ROUTES = ("/solve", "/solve/batch", "/generate")
_TYPES = (
    "application/json", "application/json; charset=utf-16", "application/problem+json",
    "text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "",
)  # fmt: skip
_SIGNS = (
    "+-*/=()^.,;: xyzabc0123456789"
    "\u2212\u00d7\u00f7\u2044\u0660\u0967\uff11\u221e\u00b2\u200b\u202e\x00\ud7ff\U0001d7ce\u0301\ufb01"
)
_BROKEN = (
    b"", b"{", b"}", b"null", b"[]", b"0", b'"', b"NaN", b"Infinity", b"-", b"\xff\xfe{}\x00",
    b"\xef\xbb\xbf{}", b"{}" * 1000, b"[" * 5000, b'{"question":' * 2000, b"{'question': 'x=1'}",
    b'{"question": "x = 1",}', b"/* */{}", b'{"question": "\\uD800"}', b'{"question": "\\x"}',
    b'{"question": "x = 1"} {"question": "x = 1"}', b'{"question": "\t\n"}', b"\x00" * 100,
)  # fmt: skip
_NUMBERS = (
    "1e999", "-1e999", "NaN", "-Infinity", "9" * 4000, "-0", "1.5", "0", "-1", "1e-400", "0x10",
    "600001", "01", "1_000", "true",
)  # fmt: skip


def requests(seed: int) -> Iterator[tuple[bytes, bool]]:
    """Requests to write, and whether each is HTTP for sure."""
    source, valid = random.Random(seed), questions(seed)
    kinds: list[Callable[[random.Random, str], bytes]] = [
        _broken, _truncated, _flipped, _noise, _odd_value, _odd_number, _odd_keys, _odd_equation,
        _nested, _large,
    ]  # fmt: skip
    while True:
        if source.random() < 0.1:
            yield _no_http(source, next(valid)), False
            continue
        body = source.choice(kinds)(source, next(valid))
        headers = {"content-type": source.choice(_TYPES)} if source.random() < 0.1 else {}
        path = source.choice(ROUTES)
        yield request(path, body, **headers), True


def _body(source: random.Random, question: str) -> dict[str, Any]:
    shapes = ({"question": question}, {"questions": [question] * 3}, {"text": question})
    return dict(source.choice(shapes))


def _broken(source: random.Random, _: str) -> bytes:
    return source.choice(_BROKEN)


def _truncated(source: random.Random, question: str) -> bytes:
    whole = json.dumps(_body(source, question)).encode()
    return whole[: source.randrange(len(whole))]


def _flipped(source: random.Random, question: str) -> bytes:
    body = bytearray(json.dumps(_body(source, question)).encode())
    for _ in range(source.randint(1, 4)):
        body[source.randrange(len(body))] = source.randrange(256)
    return bytes(body)


def _noise(source: random.Random, _: str) -> bytes:
    return source.randbytes(source.randrange(200))


def _odd_value(source: random.Random, question: str) -> bytes:
    odd: tuple[object, ...] = (
        None, True, 0, -1, 1e300, [], {}, [[]], ["x = 1", None], "", " ", {"a": 1}, "x" * 9999,
    )  # fmt: skip
    body = _body(source, question)
    name = source.choice([*body, "fallback", "stream", "max_new_tokens"])
    return json.dumps({**body, name: source.choice(odd)}).encode()


def _odd_number(source: random.Random, question: str) -> bytes:
    """Return a body with an odd number as it is: most are no JSON; none is a short deadline."""
    body = json.dumps(_body(source, question))
    name = source.choice(["timeout_ms", "max_new_tokens"])
    return f'{body[:-1]}, "{name}": {source.choice(_NUMBERS)}}}'.encode()


def _odd_keys(source: random.Random, question: str) -> bytes:
    body = json.dumps(_body(source, question))
    if source.random() < 0.5:
        return (body[:-1] + "," + body[1:]).encode()  # each key twice
    more = {"".join(source.choices(_SIGNS, k=source.randint(0, 9))): 1 for _ in range(20)}
    return json.dumps({**_body(source, question), **more}).encode()


def _odd_equation(source: random.Random, question: str) -> bytes:
    text = list(question)
    for _ in range(source.randint(1, 30)):
        text.insert(source.randrange(len(text) + 1), source.choice(_SIGNS))
    shape = source.choice(["question", "questions", "text"])
    value: Any = "".join(text)
    return json.dumps({shape: [value] if shape == "questions" else value}).encode()


def _nested(source: random.Random, _: str) -> bytes:
    depth = source.choice([10, 900, 20_000])
    inner = source.choice([("[", "]"), ('{"a":', "}")])
    nested = inner[0] * depth + "1" + inner[1] * depth
    question = "(" * depth + "x" + ")" * depth + " = 1"
    return source.choice(
        [nested, f'{{"question": {nested}}}', json.dumps({"question": question})]
    ).encode()


def _large(source: random.Random, _: str) -> bytes:
    """Now and then: a term of many digits, many terms, and a body over the limit."""
    kind = source.random()
    if kind < 0.02:
        return json.dumps({"question": "x" * 1_000_001}).encode()
    if kind < 0.5:
        return json.dumps({"question": f"{'9' * source.randint(100, 20_000)}*x = 1"}).encode()
    return json.dumps({"question": "x" + " + x" * source.randint(100, 5_000) + " = 1"}).encode()


def _no_http(source: random.Random, question: str) -> bytes:
    """Something wrong with the head, the framing or both."""
    body = json.dumps({"question": question}).encode()
    head = b"POST /solve HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
    length = b"content-length: %d\r\n" % len(body)
    wrong = (
        source.randbytes(source.randint(1, 300)),
        head.replace(b"POST", b"BREW") + length + b"\r\n" + body,
        head.replace(b"1.1", b"9.7") + length + b"\r\n" + body,
        head + b"content-length: -1\r\n\r\n" + body,
        head + b"content-length: " + b"9" * 30 + b"\r\n\r\n" + body,
        head + length + b"content-length: 1\r\n\r\n" + body,
        head + length + b"transfer-encoding: chunked\r\n\r\n" + body,
        head + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + body,
        head + b"transfer-encoding: chunked\r\n\r\n5\r\n{}",
        head + b"no colon\r\n" + length + b"\r\n" + body,
        head + b"x: a\0b\r\n" + length + b"\r\n" + body,
        head + b"x: " + b"a" * source.choice([100, 70_000]) + b"\r\n" + length + b"\r\n" + body,
        head + b"x: y\r\n" * source.choice([10, 2_000]) + length + b"\r\n" + body,
        b"GET /" + b"%ff" * source.choice([10, 30_000]) + b" HTTP/1.1\r\nhost: test\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS, to a plain port
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        head[: source.randrange(len(head))],
    )
    return source.choice(wrong)
