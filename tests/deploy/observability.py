"""A real Prometheus with the configuration that ships, and the expressions that ship with it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from loadtest.server import free_port
from tests.end_to_end.conftest import START_S

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "cybersolve.json"
RULES = DEPLOY / "prometheus" / "rules"
COMPONENTS = DEPLOY / "kubernetes" / "components"
NAMESPACE = "production"  # of the targets, as Kubernetes would label them
_COMPARISON = re.compile(r"\s+(?:==|!=|<=|>=|<|>)\s+[-\d.]+$", re.MULTILINE)
_LABELS = re.compile(r"label_values\((\w+)(?:{(.*)})?, (\w+)\)")
_WITH_LABEL = r'count by (\3) (\1{\3!="", \2})'
_ABSENT = re.compile(r"absent\((.*)\)")
# What Grafana puts in, with the data source's scrape interval of 5 s.
_VARIABLES = {
    "$__rate_interval": "20s",
    "$namespace": ".*",
    "$job": ".*",
    "$instance": ".*",
    "$version": ".*",
}


def rules() -> list[dict[str, Any]]:
    """Recording rules and alerts."""
    files = (yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml")))
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def measured(expression: str) -> str:
    """Return what an alert looks at: in good times the alert itself finds nothing."""
    return _ABSENT.sub(r"\1", _COMPARISON.sub("", expression.strip()))


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something."""
    every: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in every if panel["type"] != "row"]


def scaling_queries() -> list[str]:
    """Return the queries of KEDA."""
    text = (COMPONENTS / "keda/scaledobject.yaml").read_text()
    return [trigger["metadata"]["query"] for trigger in yaml.safe_load(text)["spec"]["triggers"]]


def adapter_queries() -> Iterator[str]:
    """Yield the queries of Prometheus' adapter, for the series that there are and for figures."""
    rules = yaml.safe_load((COMPONENTS / "hpa/adapter-rules.yaml").read_text())["rules"]
    for rule in rules["external"]:
        yield rule["seriesQuery"]
        yield rule["metricsQuery"].replace("<<.LabelMatchers>>", f'namespace="{NAMESPACE}"')


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression that ships, with the name of the panel or rule that it belongs to."""
    for query in (*scaling_queries(), *adapter_queries()):
        yield "autoscaling", query
    for rule in rules():
        yield rule.get("alert") or rule["record"], measured(rule["expr"])
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['title']!r}", _as_grafana_asks(target["expr"])
    dashboard = json.loads(DASHBOARD.read_text())
    for mark in dashboard["annotations"]["list"]:
        yield f"mark {mark['name']!r}", _as_grafana_asks(mark["expr"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            query = _as_grafana_asks(variable["query"]["query"])
            yield f"variable {variable['name']!r}", _LABELS.sub(_WITH_LABEL, query)


def _as_grafana_asks(expression: str) -> str:
    """Return an expression with the values of Grafana's variables."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> list[float]:
        """The values of an instant query that are numbers. Raises `AssertionError` if refused."""
        answer = httpx.get(f"{self._url}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        values = [float(series["value"][1]) for series in answer["data"]["result"]]
        return [value for value in values if not math.isnan(value)]

    def rules(self) -> list[dict[str, Any]]:
        groups = httpx.get(f"{self._url}/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


@contextmanager
def prometheus(folder: Path, targets: list[str]) -> Iterator[Prometheus]:
    """Prometheus, in `folder`, with everything in `deploy/prometheus` but the targets."""
    shutil.copytree(DEPLOY / "prometheus", folder / "config")
    labels = {"namespace": NAMESPACE}
    described = json.dumps([{"targets": targets, "labels": labels}])  # JSON is YAML
    (folder / "config" / "targets" / "cybersolve.yml").write_text(described)
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'config' / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/-/ready", process, folder / "log")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=START_S)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("Prometheus did not become ready")
