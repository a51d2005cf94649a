"""A rolling update of two replicas behind a real HAProxy or nginx, under load: nothing is lost.

As Kubernetes does it: a new replica becomes ready, the preStop hook of the manifests runs for an
old one, SIGTERM follows, and the next is replaced. `make ops-test` runs replicas as processes,
`make image-test` as root file systems of the built image.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import httpx
import pytest
import yaml

from loadtest.server import free_port
from tests.deploy.balancers import Configure, Slot, await_ready, balancer, haproxy, nginx
from tests.deploy.images import Image, missing
from tests.deploy.manifests import KUBERNETES
from tests.end_to_end.conftest import ROOT, START_S

CALLERS = 8
BALANCERS = [
    pytest.param(configure, id=configure.__name__, marks=pytest.mark.skipif(
        shutil.which(configure.__name__, path=f"{os.environ['PATH']}:/usr/sbin") is None,
        reason=f"needs {configure.__name__} (Debian)",
    ))
    for configure in (haproxy, nginx)
]  # fmt: skip
Start = Callable[..., "subprocess.Popen[str]"]


class Replica:
    """One replica on the ports of a slot, with the environment of the manifests."""

    def __init__(self, start: Start, slot: Slot) -> None:
        environment = {
            "CYBERSOLVE_HOST": "127.0.0.1", "CYBERSOLVE_PORT": str(slot.port),
            "CYBERSOLVE_METRICS_PORT": str(slot.health_port), "CYBERSOLVE_WORKERS": "1",
            "CYBERSOLVE_CACHED_ANSWERS": "0",
        }  # fmt: skip
        self._process = start(**environment)
        await_ready(f"http://127.0.0.1:{slot.health_port}", self._process)

    def end(self) -> None:
        """End as a pod does: its own preStop hook, then SIGTERM, then a clean exit."""
        deployment = yaml.safe_load((KUBERNETES / "base/deployment.yaml").read_text())
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        *shell, hook = container["lifecycle"]["preStop"]["exec"]["command"]
        own = hook.replace("kill -USR1 1;", f"kill -USR1 {self._process.pid};")
        assert own != hook
        subprocess.run([*shell, own], check=True)
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate(timeout=START_S)
        # A process that is not a container's first ends by the signal, as uvicorn has it.
        assert self._process.returncode in (0, -signal.SIGTERM)

    def close(self) -> None:
        """End at once, if it still runs."""
        self._process.kill()
        self._process.communicate()


class Load:
    """Callers with connections that they keep, who never try again."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._over = threading.Event()
        self._numbers = count(1)
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        self.outcomes: Counter[str] = Counter()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._over.is_set():
                question = {"question": f"3x + {next(self._numbers)} = 20"}
                try:
                    outcome = str(client.post("/solve", json=question).status_code)
                except httpx.TransportError as error:
                    outcome = repr(error)
                self.outcomes[outcome] += 1


def as_process(**environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve"],
        cwd=ROOT, env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def roll(start: Start, configure: Configure, folder: Path) -> Counter[str]:
    """Replace both replicas under load; return the outcomes of the requests."""
    slots = [Slot(free_port(), free_port()) for _ in range(3)]
    with ExitStack() as running:

        def replica(slot: Slot) -> Replica:
            started = Replica(start, slot)
            running.callback(started.close)
            return started

        old = [replica(slot) for slot in slots[:2]]
        url = running.enter_context(balancer(configure, slots, folder))
        with Load(url) as load:
            replica(slots[2])
            old[0].end()
            replica(slots[0])
            old[1].end()
        return load.outcomes


def require_nothing_lost(outcomes: Counter[str]) -> None:
    print(json.dumps(outcomes))
    assert set(outcomes) == {"200"}
    assert outcomes["200"] > 100


@pytest.mark.ops
@pytest.mark.parametrize("configure", BALANCERS)
def test_a_rolling_update_loses_no_request(configure: Configure, tmp_path: Path) -> None:
    require_nothing_lost(roll(as_process, configure, tmp_path))


@pytest.mark.image
@pytest.mark.skipif(bool(missing()), reason=missing())
@pytest.mark.parametrize("configure", BALANCERS)
def test_a_rolling_update_of_images_loses_no_request(
    configure: Configure, image: Image, tmp_path: Path
) -> None:
    require_nothing_lost(roll(image.start, configure, tmp_path))
