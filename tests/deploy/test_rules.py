"""The PrometheusRule of a cluster holds the rules of `deploy/prometheus`."""

from __future__ import annotations

import pytest
import yaml

from tests.deploy.observability import DEPLOY, RULES

RULE = DEPLOY / "kubernetes/components/monitoring/prometheusrule.yaml"
HEAD = "# Generated from deploy/prometheus/rules: pytest tests/deploy/test_rules.py --accept\n"


def generated() -> str:
    files = (yaml.safe_load(path.read_text()) for path in sorted(RULES.glob("*.yml")))
    resource = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "cybersolve", "labels": {"app.kubernetes.io/name": "cybersolve"}},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }
    return HEAD + yaml.safe_dump(resource, sort_keys=False, width=100)


def test_the_operators_rules_are_those_that_prometheus_loads(
    request: pytest.FixtureRequest,
) -> None:
    if request.config.getoption("--accept"):
        RULE.write_text(generated())
    assert RULE.read_text() == generated()
