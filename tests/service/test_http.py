"""HTTP as its RFCs have it, on real sockets: offers to upgrade, Host, HEAD, heads and trailers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service.protocol import MAX_HEAD_BYTES, MAX_HEADERS
from tests.service.app import serve
from tests.service.sockets import Reply, Wire, listen

BODY = b'{"question": "x = 1"}'
OFFER = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
HEAD = "POST /solve HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
WHOLE = f"content-length: {len(BODY)}\r\n\r\n".encode() + BODY
CHUNKED = b"transfer-encoding: chunked\r\n\r\n15\r\n" + BODY + b"\r\n0\r\n\r\n"
LAST = b"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize("body", [WHOLE, CHUNKED], ids=["whole", "chunked"])
@pytest.mark.parametrize("cut", [1, 40, 10_000])
def test_a_request_that_offers_h2c_keeps_its_body(bundle: Path, body: bytes, cut: int) -> None:
    """Java's client offers it with every first request; what follows is answered, too."""
    sent = (HEAD + OFFER).encode() + body

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        for start in range(0, len(sent), cut):
            writer.write(sent[start : start + cut])
            await writer.drain()
        writer.write(sent + LAST)
        received = await reader.read()
        assert received.count(b"HTTP/1.1 200 OK") == 3
        assert received.count(b'"answer":"1"') == 2
        writer.close()

    listen(bundle, scenario)


@pytest.mark.parametrize("offered", ["h2c", "websocket", "anything"])
def test_an_offer_without_a_body_is_answered_as_if_there_were_none(
    bundle: Path, offered: str
) -> None:
    async def scenario(wire: Wire) -> None:
        offer = (
            f"GET /livez HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: {offered}\r\n"
        )
        received = await wire.exchange(f"{offer}\r\n".encode() * 3 + LAST)
        assert received.count(b"HTTP/1.1 200 OK") == 4

    listen(bundle, scenario)


def test_an_offer_keeps_the_wish_to_close(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        offer = (HEAD + OFFER.replace("Upgrade,", "Upgrade, close,")).encode() + WHOLE
        assert Reply.read(await wire.exchange(offer)).headers["connection"] == "close"

    listen(bundle, scenario)


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        ("GET /livez HTTP/1.1", [], 400),
        ("GET /livez HTTP/1.1", ["a", "a"], 400),
        ("GET /livez HTTP/1.1", ["a", "b"], 400),
        ("GET /livez HTTP/1.1", ["a/b"], 400),
        ("GET /livez HTTP/1.1", ["user@a"], 400),
        ("GET /livez HTTP/1.1", ["a b"], 400),
        ("GET /livez HTTP/1.1", ["a:80"], 200),
        ("GET /livez HTTP/1.1", ["[::1]:80"], 200),
        ("GET /livez HTTP/1.1", [""], 200),
        ("GET /livez HTTP/1.0", [], 200),
        ("GET /livez HTTP/1.0", ["a", "b"], 400),
    ],
)
def test_a_request_has_one_valid_host(
    bundle: Path, request_line: str, hosts: list[str], status: int
) -> None:
    async def scenario(wire: Wire) -> None:
        lines = [request_line, *(f"host: {host}" for host in hosts), "connection: close", "", ""]
        reply = Reply.read(await wire.exchange("\r\n".join(lines).encode()))
        assert reply.status == status
        if status != 200:
            reply.problem()

    listen(bundle, scenario)


def test_head_is_get_without_its_body(bundle: Path) -> None:
    paths = [
        "/", "/docs", "/page/main.js", "/openapi.json", "/livez", "/readyz", "/info", "/metrics",
        "/v2", "/v2/health/live", "/v2/models/tiny", "/nowhere",
    ]  # fmt: skip

    async def scenario(wire: Wire) -> None:
        for path in paths:
            get = await wire.ask(path, method="GET")
            head = await wire.ask(path, method="HEAD")
            assert (head.status, head.body) == (get.status, b""), path
            assert head.headers["content-type"] == get.headers["content-type"]
            if path != "/metrics":
                assert head.headers["content-length"] == get.headers["content-length"]
        refused = await wire.ask("/solve", method="HEAD")
        assert (refused.status, refused.headers["allow"], refused.body) == (405, "post", b"")
        assert (await wire.ask("/livez")).headers["allow"] == "get, head"

    listen(bundle, scenario)


def test_head_has_no_body_without_a_server_either(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        answer = await client.head("/info")
        assert (answer.status_code, answer.content) == (200, b"")

    serve(bundle, scenario)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /livez HTTP/1.1\r\nhost: test\r\nx: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: test\r\n" + b"x: %b\r\n" % (b"a" * 500) * 70 + b"\r\n",
        b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nhost: test\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nhost: test\r\n" + b"a: b\r\n" * MAX_HEADERS + b"\r\n",
        HEAD.encode() + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\n" + WHOLE,
        (HEAD + OFFER).encode() + b"x: " + b"a" * MAX_HEAD_BYTES + b"\r\n" + WHOLE,
    ],
    ids=["a header", "headers", "a path", "many headers", "with a body", "with an offer"],
)
def test_a_head_that_is_too_long_is_431_though_it_comes_at_once(bundle: Path, head: bytes) -> None:
    async def scenario(wire: Wire) -> None:
        assert Reply.read(await wire.exchange(head)).problem()["status"] == 431

    listen(bundle, scenario)


def test_trailers_are_no_headers_and_are_bounded(bundle: Path) -> None:
    async def scenario(wire: Wire) -> None:
        sent = HEAD.encode() + b"connection: close\r\n" + CHUNKED[:-2]
        reply = Reply.read(await wire.exchange(sent + b"x-request-id: trailer\r\n\r\n"))
        assert reply.status == 200
        assert reply.headers["x-request-id"] != "trailer"
        with suppress(ConnectionResetError):  # what it had still to send was not read
            endless = await wire.exchange(sent + b"x: " + b"a" * 10 * MAX_HEAD_BYTES)
            assert b"HTTP/1.1 200" not in endless

    listen(bundle, scenario)
