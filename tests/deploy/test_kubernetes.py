"""What kustomize makes of deploy/kubernetes, against the schemas of Kubernetes and its add-ons."""

from __future__ import annotations

import json
import shutil
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.settings import Settings
from tests.deploy.observability import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = ("1.29", "1.33", "1.37")
OVERLAYS = ("overlays/cpu", "overlays/gpu")
CUSTOM = ("ScaledObject", "ServiceMonitor", "InferenceService")
UVICORN_S = 5  # service.server's patience with answers on their way out
# What an InferenceService's predictor has beyond a pod.
KSERVE_ONLY = ("minReplicas", "maxReplicas")

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="needs kubectl, whose kustomize builds the manifests"
)
Resource = dict[str, Any]


def built(folder: str) -> list[Resource]:
    result = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def of(resources: list[Resource], kind: str) -> Resource:
    (found,) = [resource for resource in resources if resource["kind"] == kind]
    return found


def predictor_as_pod() -> Resource:
    predictor = deepcopy(of(built("kserve"), "InferenceService")["spec"]["predictor"])
    for name in KSERVE_ONLY:
        del predictor[name]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": predictor}


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_fits_the_schema_of(overlay: str, version: str) -> None:
    own = [resource for resource in built(overlay) if resource["kind"] not in CUSTOM]
    kinds = {resource["kind"] for resource in own}
    assert kinds == {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    for resource in own:
        kubernetes_validate.validate(resource, version, strict=True)


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
def test_kserves_predictor_is_a_pod_of(version: str) -> None:
    kubernetes_validate.validate(predictor_as_pod(), version, strict=True)


@needs_kubectl
def test_a_misspelt_field_would_be_found() -> None:
    deployment = of(built("overlays/cpu"), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@needs_kubectl
@pytest.mark.parametrize("where", [*OVERLAYS, "kserve"])
def test_pods_outlive_the_drain_and_cannot_harm(where: str) -> None:
    resources = built(where)
    if where == "kserve":
        pod = of(resources, "InferenceService")["spec"]["predictor"]
    else:
        pod = of(resources, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    settings = {
        entry["name"].removeprefix("CYBERSOLVE_").lower(): entry["value"]
        for entry in container["env"]
    }
    assert set(settings) <= set(Settings.__dataclass_fields__)
    *_, hook = container["lifecycle"]["preStop"]["exec"]["command"]
    signalled, paused = hook.split("; ")
    assert signalled == "kill -USR1 1"
    pause_s = int(paused.removeprefix("sleep "))
    needed_s = pause_s + float(settings["drain_timeout_s"]) + UVICORN_S
    assert pod["terminationGracePeriodSeconds"] > needed_s
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"].startswith("registry.example/cybersolve:1.0.0")
    requested = container["resources"]["requests"]
    assert {"cpu", "memory"} <= set(requested)
    assert settings["workers"] == requested["cpu"]


@needs_kubectl
@pytest.mark.parametrize("where", [*OVERLAYS, "kserve"])
def test_probes_ask_the_port_that_answers_under_load(where: str) -> None:
    resources = built(where)
    if where == "kserve":
        (container,) = of(resources, "InferenceService")["spec"]["predictor"]["containers"]
    else:
        (container,) = of(resources, "Deployment")["spec"]["template"]["spec"]["containers"]
    settings = {entry["name"]: entry["value"] for entry in container["env"]}
    port = int(settings["CYBERSOLVE_METRICS_PORT"])
    ports = {entry["name"]: entry["containerPort"] for entry in container["ports"]} | {port: port}
    for kind in ("startup", "readiness", "liveness"):
        assert ports[container[f"{kind}Probe"]["httpGet"]["port"]] == port
    assert container["readinessProbe"]["timeoutSeconds"] > 1
    assert container["readinessProbe"]["failureThreshold"] > 1


@needs_kubectl
def test_selectors_select_the_pods() -> None:
    resources = built("overlays/cpu")
    pod = of(resources, "Deployment")["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    selectors = [
        of(resources, "Service")["spec"]["selector"],
        of(resources, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        of(resources, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        of(resources, "Deployment")["spec"]["selector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in
          pod["spec"]["topologySpreadConstraints"]),
    ]  # fmt: skip
    assert all(selector and selector.items() <= labels for selector in selectors)
    monitored = of(resources, "ServiceMonitor")["spec"]
    of_service = of(resources, "Service")["metadata"]["labels"]
    assert monitored["selector"]["matchLabels"].items() <= of_service.items()
    ports = {port["name"] for port in of(resources, "Service")["spec"]["ports"]}
    assert ports == {"http", "metrics"}
    assert monitored["endpoints"][0]["port"] == "metrics"
    target = of(resources, "ScaledObject")["spec"]["scaleTargetRef"]["name"]
    assert target == of(resources, "Deployment")["metadata"]["name"]


@pytest.mark.ops
@needs_kubectl
def test_custom_resources_fit_the_schemas_of_their_projects(schemas: Path) -> None:
    custom = [resource for resource in built("overlays/cpu") if resource["kind"] in CUSTOM]
    assert len(custom) == 2
    wrong = deepcopy(custom)
    wrong[0]["spec"].clear()
    wrong[1]["spec"]["endpoints"] = "all"
    result = subprocess.run(
        ["node", "validate.mjs"],
        cwd=schemas, input=json.dumps(custom + wrong), capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second, *faults = json.loads(result.stdout)
    assert (first, second) == ("", "")
    assert all(faults)
