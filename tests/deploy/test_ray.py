"""Bulk files and HTTP on a real Ray cluster of two workers on this machine: `make ray-test`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from loadtest.server import free_port
from loadtest.workload import question
from service.bulk.backends import local
from service.bulk.formats import Format, format_of
from service.bulk.rows import OutputError
from service.bulk.run import Run, Tally, answer
from service.settings import Settings
from service.solving import Fallback
from tests.end_to_end.conftest import ROOT, START_S

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra `ray` (make ray-test)"),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, dozens
]
SETTINGS = Settings(threads=1)
PART = 50  # questions
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that computes nothing and two nodes of one core each."""
    # Ray's switch for "no other machines": without it, it looks for this machine's public address.
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    node = {"node_ip_address": LOOPBACK, "object_store_memory": 100_000_000}
    head = {**node, "num_cpus": 0, "include_dashboard": False}
    running_cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        running_cluster.add_node(num_cpus=1, **node)
    ray.init(address=running_cluster.address, _node_ip_address=LOOPBACK, log_to_driver=False)
    yield running_cluster
    ray.shutdown()
    running_cluster.shutdown()


@pytest.fixture(scope="module")
def questions() -> list[str]:
    random = Random(7)
    return [question(random) if i % 50 else f"mistake {i} = " for i in range(1200)]


@pytest.fixture
def expected(
    questions: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Return the answers of a single process."""
    target = tmp_path_factory.mktemp("one") / "out.jsonl"
    source = target.with_name("in.jsonl")
    source.write_text("".join(json.dumps({"question": text}) + "\n" for text in questions))
    run_of = partial(Run, source, target, Format.JSONL, Format.JSONL, Fallback.NONE)
    answer(run_of(resume=False, overwrite=False, backend=local, address=None), SETTINGS)
    return read(target)


@pytest.fixture
def source(questions: list[str], tmp_path: Path) -> Path:
    lines = (json.dumps({"question": text}) + "\n" for text in questions)
    (tmp_path / "in.jsonl").write_text("".join(lines))
    return tmp_path / "in.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(source: Path, target: Path, fallback: Fallback = Fallback.NONE) -> Tally:
    """`cybersolve batch --ray --resume`, in small parts."""
    from deploy.ray import bulk

    plan = Run(
        source=source,
        target=target,
        source_format=format_of(source),
        target_format=format_of(target),
        fallback=fallback,
        resume=True,
        overwrite=False,
        backend=partial(bulk.answer, part=PART),
        address=None,
    )
    return answer(plan, SETTINGS)


def journal(target: Path) -> Path:
    return target.with_name(f"{target.name}.parts") / "results.jsonl"


def kept(target: Path) -> int:
    """Return the number of results of an unfinished run."""
    return journal(target).read_bytes().count(b"\n") if journal(target).exists() else 0


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 2 * START_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def workers(cluster: Any) -> list[int]:
    """Process ids of the actors that answer, children of this cluster's nodes."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    raylets = {node.all_processes["raylet"][0].process.pid for node in cluster.worker_nodes}
    rows = (line.split(maxsplit=2) for line in listed.splitlines())
    return [int(row[0]) for row in rows if int(row[1]) in raylets and "ray::Worker" in row[2]]


def test_a_worker_dies_and_nothing_is_lost_or_there_twice(
    cluster: Any, source: Path, expected: list[dict[str, Any]]
) -> None:
    target = source.with_name("out.jsonl")
    killed: list[int] = []

    def kill_one() -> None:
        wait_for(lambda: kept(target) >= 3 * PART, "no part was finished")
        victim = workers(cluster)[0]
        os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    killer = threading.Thread(target=kill_one)
    killer.start()
    run(source, target)
    killer.join()
    assert killed
    assert read(target) == expected
    assert not target.with_name("out.jsonl.parts").exists()


def test_an_interrupted_run_goes_on_where_it_stopped(
    cluster: Any, source: Path, expected: list[dict[str, Any]]
) -> None:
    target = source.with_name("out.jsonl")
    script = (
        "import ray; from pathlib import Path; from tests.deploy.test_ray import run; "
        f"ray.init(address={cluster.address!r}, _node_ip_address={LOOPBACK!r}); "
        f"run(Path({str(source)!r}), Path({str(target)!r}))"
    )
    driver = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.DEVNULL)
    wait_for(lambda: kept(target) >= 2 * PART, "no part was finished")
    driver.kill()
    driver.wait()
    assert not target.exists()
    first, rest = journal(target).read_bytes().split(b"\n", 1)
    index, result = json.loads(first)
    marked = json.dumps([index, {**result, "reason": "not computed again"}]).encode()
    journal(target).write_bytes(marked + b"\n" + rest)

    with pytest.raises(OutputError, match="results of another run"):
        run(source, target, Fallback.EXACT)
    assert run(source, target).resumed >= 2 * PART
    expected[index] = {**expected[index], "reason": "not computed again"}
    assert read(target) == expected


def test_parquet_goes_in_and_comes_out(
    cluster: Any, source: Path, questions: list[str], expected: list[dict[str, Any]]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    some = source.with_name("in.parquet")
    pq.write_table(pa.table({"id": range(120), "question": questions[:120]}), some)
    target = source.with_name("out.parquet")
    run(some, target)
    rows = pq.read_table(target).to_pylist(maps_as_pydicts="strict")
    assert [row.pop("id") for row in rows] == list(range(120))
    for row, result in zip(rows, expected, strict=False):
        assert {name: value for name, value in row.items() if value is not None} == {
            name: value for name, value in result.items() if value is not None
        }


def test_replicas_answer_over_http_and_grow_with_the_load(
    cluster: Any, questions: list[str], expected: list[dict[str, Any]]
) -> None:
    from ray import serve

    from deploy.ray.serving import CyberSolve

    port = free_port()
    serve.start(http_options={"host": LOOPBACK, "port": port})
    serve.run(CyberSolve.bind(), route_prefix="/")  # type: ignore[attr-defined]  # Ray adds it
    url = f"http://{LOOPBACK}:{port}"

    def replicas() -> int:
        deployment = serve.status().applications["default"].deployments["CyberSolve"]
        running: int = deployment.replica_states.get("RUNNING", 0)
        return running

    async def ask_until_two() -> None:
        deadline = time.monotonic() + 2 * START_S
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            while await asyncio.to_thread(replicas) < 2:
                assert time.monotonic() < deadline, "never grew"
                await asyncio.gather(*(ask(client, i) for i in range(1, 49)))

    async def ask(client: httpx.AsyncClient, index: int) -> None:
        body = (await client.post("/solve", json={"question": questions[index]})).json()
        assert (body["answer"], body["verdict"]) == (
            expected[index]["answer"],
            expected[index]["verdict"],
        )

    try:
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert replicas() == 1
        asyncio.run(ask_until_two())
    finally:
        serve.shutdown()
