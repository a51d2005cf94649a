"""Metrics, rules, alerts and dashboard: they fit each other, and real data flows through them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import yaml

from bench.processes import children
from loadtest.workload import asks
from service.settings import Settings
from tests.deploy.observability import (
    DASHBOARD,
    DEPLOY,
    Prometheus,
    expressions,
    measured,
    panels,
    prometheus,
    rules,
)
from tests.end_to_end.conftest import ROOT, Server, start

WAIT_S = 90.0
ENUMERATIONS = {
    '"type": "value"': "MappingType.ValueToText",
    '"mode": "absolute"': "ThresholdsMode.Absolute",
    '"mode": "thresholds"': "FieldColorModeId.Thresholds",
}
PROMETHEUS = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="needs Prometheus (apt-get install prometheus)"
)
PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (apt-get install prometheus)"
)


def test_every_metric_that_is_asked_for_exists() -> None:
    documented = re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    known = {f"{name}{end}" for name in documented for end in ("", "_bucket", "_sum", "_count")}
    known |= {rule["record"] for rule in rules() if "record" in rule}
    for where, expression in expressions():
        asked = set(re.findall(r"\b(?:(?:\w+:)?cybersolve_\w+(?::\w+)?|process_\w+)", expression))
        assert asked or expression.startswith("up"), where
        assert asked <= known, where


def test_every_alert_says_what_to_do() -> None:
    guide = (ROOT / "docs/operate.md").read_text()
    headings = {line.lstrip("# ").lower() for line in guide.splitlines() if line.startswith("#")}
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len(alerts) == 17
    for rule in alerts:
        assert rule["annotations"]["runbook"] == f"docs/operate.md#{rule['alert'].lower()}"
        assert rule["alert"].lower() in headings
        assert measured(rule["expr"]) != rule["expr"].strip()


def test_no_aggregation_mixes_namespaces() -> None:
    """Two installations under one Prometheus may have the same job and instance names."""
    for rule in rules():
        for group in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", rule["expr"]):
            assert {"namespace", "job"} <= set(re.split(r",\s*", group)), rule


def test_every_alert_is_tested_both_ways() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus/tests/alerts.yml").read_text())["tests"]
    cases = [case for group in groups for case in group["alert_rule_test"]]
    names = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {case["alertname"] for case in cases if "exp_alerts" in case} == names
    assert {case["alertname"] for case in cases if "exp_alerts" not in case} == names


def test_the_dashboard_is_one_that_grafana_can_lay_out_and_provision() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    (source,) = yaml.safe_load(
        (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    (variable,) = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert (variable["query"], variable["current"]["value"]) == (source["type"], source["uid"])
    for panel in panels():
        assert [target["refId"] for target in panel["targets"]] == [
            chr(65 + i) for i in range(len(panel["targets"]))
        ]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_the_dashboard_marks_what_alerts_and_deployments_are_about() -> None:
    """Lines where alerts fire, a row of figures at the top, and a mark where a version begins."""
    dashboard = json.loads(DASHBOARD.read_text())
    figures = [panel["title"] for panel in panels() if panel["gridPos"]["y"] == 1]
    assert figures == [
        "Requests now", "Errors now", "Burn rate", "p99 now", "Saturation now", "Replicas ready",
    ]  # fmt: skip
    variables = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert variables == ["datasource", "namespace", "job", "instance", "version"]
    (marks,) = dashboard["annotations"]["list"]
    assert "cybersolve_model_info" in marks["expr"]
    alerts = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    for alert, title in (
        ("CybersolveErrors", "Errors and refusals"),
        ("CybersolveQueueSlow", "Queue wait"),
        ("CybersolveSaturated", "Rows in use"),
        ("CybersolveQueueNearlyFull", "Queue fill"),
        ("CybersolveFileHandles", "File handles"),
        ("CybersolveInaccurate", "Accuracy"),
    ):
        (panel,) = [panel for panel in panels() if panel["title"] == title]
        lines = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert float(alerts[alert].split()[-1]) in [line["value"] for line in lines], title


@pytest.mark.ops
def test_the_dashboard_fits_grafanas_own_schema(schemas: Path) -> None:
    """The types that Grafana generates from its schema, asked by TypeScript's compiler."""
    dashboard = json.loads(DASHBOARD.read_text())
    for annotation in dashboard["annotations"]["list"]:
        for name in ("expr", "step", "titleFormat"):  # Prometheus' own, of which it knows nothing
            del annotation[name]
    text = json.dumps(dashboard, indent=2)
    fits = checked(schemas, text)
    assert fits.returncode == 0, fits.stdout
    wrong = checked(schemas, text.replace('"gridPos"', '"gridPosition"'))
    assert "gridPosition" in wrong.stdout


def checked(folder: Path, dashboard: str) -> subprocess.CompletedProcess[str]:
    types = "./node_modules/@grafana/schema/dist/types/raw/dashboard/x/types.gen"
    # JSON has strings where TypeScript has enumerations.
    literal = dashboard
    for text, member in ENUMERATIONS.items():
        literal = literal.replace(text, f"{text} as {member}")
    names = ", ".join(["Dashboard", *{member.split(".")[0] for member in ENUMERATIONS.values()}])
    (folder / "dashboard.ts").write_text(
        f'import type {{ {names} }} from "{types}";\n'
        f"export const dashboard: Dashboard = {literal};\n"
    )
    strict = "--noEmit --strict --skipLibCheck --module esnext --target es2022"
    compiler = ["node", "node_modules/typescript/bin/tsc", "--moduleResolution", "bundler"]
    return subprocess.run(
        [*compiler, *strict.split(), "dashboard.ts"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


@PROMTOOL
@pytest.mark.parametrize(
    "command",
    ["check config prometheus.yml", "test rules tests/alerts.yml"],
)
def test_promtool_finds_no_fault(command: str) -> None:
    result = subprocess.run(
        ["promtool", *command.split()],
        cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Two replicas: one with a queue that fills at once, one with a newer version of the model."""
    newer = tmp_path_factory.mktemp("models") / "newer"
    shutil.copytree(Settings().model, newer)
    manifest = json.loads((newer / "manifest.json").read_text())
    manifest["version"] = "99.0.0"
    (newer / "manifest.json").write_text(json.dumps(manifest))
    with ExitStack() as running:
        small = start(CYBERSOLVE_MAX_QUEUE="4")
        running.callback(small.stop)
        rolled_out = start(CYBERSOLVE_MODEL=str(newer))
        running.callback(rolled_out.stop)
        yield [small, rolled_out]


class Traffic:
    """Callers that ask the servers everything, with deadlines that pass and queues that fill.

    `lossy`: a request may be lost, because the process that serves it is killed.
    """

    def __init__(self, servers: list[Server], *, lossy: bool = False) -> None:
        self._servers = servers
        self._lost = (httpx.TransportError,) if lossy else ()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(seed,)) for seed in range(8)]

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, seed: int) -> None:
        with httpx.Client(timeout=60) as client:
            for count, ask in enumerate(asks(seed)):
                for server in self._servers:
                    with suppress(*self._lost):
                        client.post(server.url + ask.path, json=ask.body)
                    if count % 20 == 0:
                        impatient = {"question": "x + 1 = 2", "timeout_ms": 1}
                        with suppress(*self._lost):
                            client.post(f"{server.url}/solve", json=impatient)
                if self._over.is_set():
                    return


@pytest.mark.ops
@PROMETHEUS
def test_every_panel_and_every_rule_has_data_under_real_traffic(
    servers: list[Server], tmp_path: Path
) -> None:
    targets = [server.url.removeprefix("http://") for server in servers]
    with prometheus(tmp_path, targets) as monitor, Traffic(servers):
        waiting = list(expressions())
        assert len(waiting) > 50
        deadline = time.monotonic() + WAIT_S
        while waiting:
            waiting = [(name, text) for name, text in waiting if not monitor.query(text)]
            assert time.monotonic() < deadline, f"no data: {waiting}"
            time.sleep(1)
        healthy(monitor)


@pytest.mark.ops
@PROMETHEUS
def test_no_counter_falls_when_a_process_is_killed(tmp_path: Path) -> None:
    """Several HTTP processes are one target, whichever of them answers the scrape."""
    server = start(CYBERSOLVE_PROCESSES="2", CYBERSOLVE_WORKERS="2")
    try:
        target = server.url.removeprefix("http://")
        with prometheus(tmp_path, [target]) as monitor, Traffic([server], lossy=True):
            until(lambda: monitor.query("sum(cybersolve_requests_total)")[:1] > [100.0])
            os.kill(children(server.process.pid)[0], signal.SIGKILL)
            until(lambda: monitor.query("sum(cybersolve_http_process_ends_total)") == [1.0])
            until(lambda: monitor.query("cybersolve_http_processes") == [2.0])
            # It is up; its engine may still load.
            until(lambda: httpx.get(f"{server.url}/readyz").status_code == 200)
            for name in growing(server):
                assert monitor.query(f"max(resets({name}[5m]))") in ([0.0], []), name
            assert monitor.query("max(resets(cybersolve_requests_total[5m]))") == [0.0]
    finally:
        server.stop()


def growing(server: Server) -> set[str]:
    """Return the names of the series that must never fall."""
    text = httpx.get(f"{server.url}/metrics").text
    return set(re.findall(r"^(\w+(?:_total|_bucket|_sum|_count))\b", text, re.MULTILINE))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "never"
        time.sleep(1)


def healthy(monitor: Prometheus) -> None:
    """Every rule was evaluated without an error, and the figures are what they claim to be."""
    assert len(monitor.rules()) == len(rules())
    assert {rule["health"] for rule in monitor.rules()} == {"ok"}
    assert monitor.query("max(job:cybersolve_accuracy:ratio_rate5m)")[0] > 0.9
    assert 0 < monitor.query("max(instance:cybersolve_rows_used:ratio_rate1m)")[0] <= 1.1
    assert len(monitor.query("count by (version) (cybersolve_model_info)")) == 2
