"""The needs that `cybersolve inspect` prints, beside a real service under its longest questions."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import httpx

from engine.bundle import read_manifest
from service.settings import Settings
from service.sizing import needs
from tests.end_to_end.conftest import start

RESIDENT = re.compile(
    r"^(?:process|cybersolve_engine)_resident_memory_bytes(?:\{.*\})? (.+)$", re.M
)
MANY = " + ".join(f"{17 + i}{i % 10}{(i * 7) % 10}*x" for i in range(12))


def resident_bytes(url: str) -> float:
    exposition = httpx.get(f"{url}/metrics").text
    found = [float(value) for value in RESIDENT.findall(exposition)]
    assert len(found) == 3  # the HTTP process and two engines
    return sum(found)


def ask(url: str, first: int) -> None:
    questions = [f"{MANY} = {first + i}" for i in range(100)]
    response = httpx.post(f"{url}/solve/batch", json={"questions": questions}, timeout=60)
    assert response.status_code == 200


def test_memory_is_what_inspect_says_and_the_name_is_the_given_one() -> None:
    server = start(CYBERSOLVE_WORKERS="2", CYBERSOLVE_MAX_TRIES="1", CYBERSOLVE_NAME="named-here")
    try:
        assert httpx.get(f"{server.url}/v2/models/named-here/ready").status_code == 200
        assert httpx.get(f"{server.url}/info").json()["name"] == "named-here"
        needed = needs(read_manifest(Settings().model), Settings(), engines=2)
        loaded = resident_bytes(server.url)
        assert 0.5 * needed.loaded_bytes < loaded <= needed.loaded_bytes
        with ThreadPoolExecutor(2) as callers:
            list(callers.map(ask, [server.url] * 2, (1000, 2000)))
        busy = resident_bytes(server.url)
        assert loaded < busy <= needed.most_bytes
    finally:
        server.stop()
