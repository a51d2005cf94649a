"""The page's files as they are served and packed; no browser is needed for that."""

from __future__ import annotations

import gzip
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import httpx
import pytest

from service.api import page
from tests.end_to_end.conftest import ROOT
from tests.service.app import serve

FOLDER = Path(page.__file__).parent
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix not in (".py", ""))
NAMES = [path.name for path in FILES]
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MOST_BYTES = 65_000  # of what `/` loads, uncompressed; the live view comes when it is opened
MOST_SENT = 24_000  # of the same, compressed


def test_every_file_is_served_with_its_type_and_the_rules(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in FILES:
            response = await client.get(page.path_of(path.name))
            assert response.status_code == 200
            assert response.content == path.read_bytes()
            assert response.headers["content-type"] == TYPES[path.suffix]
            for name, value in page.HEADERS.items():
                assert response.headers[name] == value
            empty = await client.head(page.path_of(path.name))
            assert (empty.status_code, empty.content) == (200, b"")
            assert empty.headers["etag"] == response.headers["etag"]

    serve(bundle, scenario)


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    policy = dict(
        rule.strip().split(" ", 1) for rule in page.HEADERS["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in page.HEADERS["content-security-policy"]


def test_an_unchanged_file_is_not_sent_again(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        first = await client.get("/")
        etag = first.headers["etag"]
        for known in (etag, f'"other", {etag}'):
            again = await client.get("/", headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == etag
        changed = await client.get("/", headers={"if-none-match": '"other"'})
        assert changed.status_code == 200

    serve(bundle, scenario)


def test_files_travel_compressed_where_they_may(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        sent, first = 0, loaded("index.html")
        for name in NAMES:
            async with client.stream("GET", page.path_of(name)) as response:
                assert response.headers["content-encoding"] == "gzip"
                assert response.headers["vary"] == "accept-encoding"
                raw = b"".join([part async for part in response.aiter_raw()])
            assert gzip.decompress(raw) == (FOLDER / name).read_bytes()
            sent += len(raw) if name in first else 0
            plain = await client.get(page.path_of(name), headers={"accept-encoding": "identity"})
            assert "content-encoding" not in plain.headers
        assert sent < MOST_SENT

    serve(bundle, scenario)


def test_what_is_not_a_file_of_the_page_is_not_there(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in (
            "/page/",
            "/page/nothing.js",
            "/page/__init__.py",
            "/page/index.html",
            "/redoc",
        ):
            assert (await client.get(path)).status_code == 404
        assert (await client.put("/")).status_code == 405

    serve(bundle, scenario)


def test_the_files_share_a_route_in_the_metrics(bundle: Path) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in ("/", "/page/style.css", "/page/main.js", "/docs", "/page/nothing.js"):
            await client.get(path)
        text = (await client.get("/metrics")).text
        found = re.findall(r'requests_total\{route="([^"]+)",status="(\d+)"\} (\S+)', text)
        assert sorted(found) == [
            ("/", "200", "1.0"), ("/docs", "200", "1.0"), ("/page/{name}", "200", "2.0"),
            ("/page/{name}", "404", "1.0"),
        ]  # fmt: skip

    serve(bundle, scenario)


def test_all_files_are_in_the_package() -> None:
    packing = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = packing["package-data"][page.__name__]
    assert [name for name in NAMES if not any(fnmatch(name, p) for p in patterns)] == []


def test_the_sources_are_short_and_ask_nobody_else() -> None:
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path.name
        addresses = set(re.findall(r"https?://[^\s\"'`]+", text))
        assert all(address.startswith("http://www.w3.org/") for address in addresses), path.name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert sum((FOLDER / name).stat().st_size for name in loaded("index.html")) < MOST_BYTES


LOADS = re.compile(r'(?:rel="(?:icon|stylesheet)" href|src)="page/([\w.]+)"|from "\./([\w.]+)"')


def loaded(document: str) -> set[str]:
    """The files that a document loads before anybody does anything, itself included."""
    waiting, found = [document], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [a or b for a, b in LOADS.findall((FOLDER / name).read_text())]
    return found


@pytest.mark.parametrize("document", ["index.html", "docs.html"])
def test_a_document_preloads_the_modules_it_needs_and_no_other(document: str) -> None:
    """Or they would be found one after the other, a round trip each."""
    text = (FOLDER / document).read_text()
    preloaded = re.findall(r'rel="modulepreload" href="page/([\w.]+)"', text)
    modules = {name for name in loaded(document) if name.endswith(".js")} - {"theme.js"}
    assert len(modules) > 3
    assert sorted(preloaded) == sorted(modules)
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", text)  # the policy refuses them
