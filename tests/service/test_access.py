"""The HTTP contract with strangers: keys, origins, and the headers of every answer."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from service.api.keys import KeysError, new_key
from tests.service.app import application, problem, serve
from tests.service.sockets import Wire, listen

QUESTION = {"question": "x = 1"}


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, Path]:
    """A key of Alice's, and the file that lets it in."""
    key, line = new_key("alice")
    (tmp_path / "keys").write_text(line)
    return key, tmp_path / "keys"


def test_only_keys_are_let_in_where_there_are_any(bundle: Path, key: tuple[str, Path]) -> None:
    secret, file = key

    async def scenario(client: httpx.AsyncClient) -> None:
        for headers in (
            {"authorization": f"Bearer {secret}"},
            {"authorization": f"bearer  {secret}"},
            {"x-api-key": secret},
        ):
            response = await client.post("/solve", json=QUESTION, headers=headers)
            assert response.status_code == 200
        for headers, challenge in (
            ({}, 'Bearer realm="cybersolve"'),
            ({"authorization": f"Basic {secret}"}, 'Bearer realm="cybersolve"'),
            ({"x-api-key": "cs_"}, 'Bearer realm="cybersolve", error="invalid_token"'),
            (
                {"authorization": f"Bearer {secret}x"},
                'Bearer realm="cybersolve", error="invalid_token"',
            ),
        ):
            for path in ("/solve", "/solve/batch", "/nowhere"):
                response = await client.post(path, json=QUESTION, headers=headers)
                problem(response, 401)
                assert response.headers["www-authenticate"] == challenge
        problem(await client.get("/info"), 401)
        # The page at the same path is open.
        assert (await client.post("/", json={"inputs": "x"})).status_code == 401
        assert (await client.get("/v1/models")).json()["error"]["code"] == "invalid_api_key"

    serve(bundle, scenario, api_keys_file=file)


def test_health_metrics_and_documentation_are_open(bundle: Path, key: tuple[str, Path]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in ("/livez", "/readyz", "/health", "/metrics", "/docs", "/openapi.json"):
            assert (await client.get(path)).status_code == 200
        for path in ("/", "/v2/health/ready", "/page/style.css"):
            assert (await client.get(path)).status_code != 401
        for path in ("/livez/../info", "/LIVEZ", "/docs/", "/v2/healthy", "/%2e/info"):
            assert (await client.get(path)).status_code == 401

    serve(bundle, scenario, api_keys_file=key[1])


def test_a_body_without_a_valid_key_is_not_read(bundle: Path, key: tuple[str, Path]) -> None:
    """Announced and never sent: who reads it would wait."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(b"POST /solve HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 401")
        writer.close()

    listen(bundle, scenario, api_keys_file=key[1])


def test_a_file_without_keys_does_not_start(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="expected a file of API keys"):
        application(bundle, api_keys_file=tmp_path / "missing")


@pytest.mark.parametrize(
    ("path", "status"), [("/info", 200), ("/nowhere", 404), ("/solve", 405), ("/metrics", 200)]
)
def test_every_answer_has_safe_headers_and_no_banner(bundle: Path, path: str, status: int) -> None:
    async def scenario(wire: Wire) -> None:
        reply = await wire.ask(path, method="GET")
        assert reply.status == status
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert "server" not in reply.headers
        assert "x-request-id" in reply.headers

    listen(bundle, scenario)


def test_no_other_origin_may_ask_unless_it_is_named(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        response = await client.post("/solve", json=QUESTION, headers={"origin": "https://a.test"})
        assert not [name for name in response.headers if name.startswith("access-control-")]

    serve(bundle, scenario)


def test_a_named_origin_may_ask_with_its_key(bundle: Path, key: tuple[str, Path]) -> None:
    """A browser asks first whether it may, without a key; and it is told why it was refused."""
    secret, file = key
    preflight = {
        "origin": "https://a.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, x-request-id, traceparent",
    }

    async def scenario(client: httpx.AsyncClient) -> None:
        allowed = await client.options("/solve", headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://a.test"
        other = await client.options("/solve", headers={**preflight, "origin": "https://b.test"})
        assert "access-control-allow-origin" not in other.headers
        for authorization, status in ((f"Bearer {secret}", 200), ("Bearer no", 401)):
            headers = {"origin": "https://a.test", "authorization": authorization}
            response = await client.post("/solve", json=QUESTION, headers=headers)
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == "https://a.test"
            told = response.headers["access-control-expose-headers"]
            assert {"x-request-id", "x-queue-time"} <= set(told.split(", "))

    serve(bundle, scenario, api_keys_file=file, cors_origins=("https://a.test",))
