"""The manifests of deploy/kubernetes fit the schemas of Kubernetes and its add-ons."""

from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from pathlib import Path

import kubernetes_validate
import pytest

from engine.bundle import FORMAT, READABLE
from tests.deploy.manifests import (
    KSERVE,
    OPTIONAL,
    OVERLAYS,
    VERSIONS,
    Resource,
    as_pod,
    built,
    needs_kubectl,
    of,
    pods,
    with_components,
)

CUSTOM = ("ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute")
OF_KSERVE = ("InferenceService", "ServingRuntime")  # no package has their schemas
UVICORN_S = 5  # service.server's patience with answers on their way out
IMAGE_VOLUMES = "1.33"  # in the schemas of Kubernetes from here on
pytestmark = needs_kubectl


def own(resources: list[Resource]) -> list[Resource]:
    return [one for one in resources if one["kind"] not in (*CUSTOM, *OF_KSERVE)]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_resource_fits_the_schemas_of(overlay: str) -> None:
    resources = own(built(overlay))
    scaler = {"HorizontalPodAutoscaler"} if overlay == "overlays/hpa" else set()
    kinds = {"ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"} | scaler
    assert {resource["kind"] for resource in resources} == kinds
    for version in VERSIONS:
        for resource in resources:
            kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("component", OPTIONAL)
def test_every_component_fits_the_schemas_with_the_base(component: str, tmp_path: Path) -> None:
    resources = own(with_components(tmp_path, component))
    for version in VERSIONS:
        if component == "model-image" and version < IMAGE_VOLUMES:
            continue
        for resource in resources:
            kubernetes_validate.validate(resource, version, strict=True)
    (pod,) = pods(resources)
    assert pod.settings  # the service takes what the component sets


def test_components_that_share_a_pod_do_not_overwrite_each_other(tmp_path: Path) -> None:
    alone = ("api-keys", "tracing", "model-volume", "gpu")
    (pod,) = pods(with_components(tmp_path, *alone))
    environment = pod.environment
    assert {"CYBERSOLVE_API_KEYS_FILE", "OTEL_SERVICE_NAME", "CYBERSOLVE_MODEL"} <= set(environment)
    assert (environment["CYBERSOLVE_WORKERS"], environment["CYBERSOLVE_PROVIDER"]) == ("1", "cuda")
    mounts = [mount["name"] for mount in pod.container["volumeMounts"]]
    assert mounts == [volume["name"] for volume in pod.spec["volumes"]] == ["api-keys", "models"]


def test_the_example_of_time_slicing_is_a_resource() -> None:
    import yaml

    from tests.deploy.manifests import KUBERNETES

    example = yaml.safe_load((KUBERNETES / "components/gpu/time-slicing.yaml").read_text())
    kubernetes_validate.validate(example, VERSIONS[-1], strict=True)
    assert yaml.safe_load(example["data"]["any"])["version"] == "v1"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", KSERVE)
def test_kserves_pods_are_pods_of(folder: str, version: str) -> None:
    (pod,) = pods(built(folder))
    kubernetes_validate.validate(as_pod(pod.spec), version, strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    deployment = of(built("overlays/cpu"), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", [*OVERLAYS, *KSERVE])
def test_pods_outlive_the_drain_and_cannot_harm(folder: str) -> None:
    (pod,) = pods(built(folder))
    container = pod.container
    *_, hook = container["lifecycle"]["preStop"]["exec"]["command"]
    signalled, paused = hook.split("; ")
    assert signalled == "kill -USR1 1"
    needed_s = int(paused.removeprefix("sleep ")) + pod.settings.drain_timeout_s + UVICORN_S
    assert pod.spec["terminationGracePeriodSeconds"] > needed_s
    assert pod.spec["enableServiceLinks"] is False
    assert pod.spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["image"].startswith("registry.example/cybersolve:1.0.0")


def test_the_pod_that_converts_cannot_harm_either(tmp_path: Path) -> None:
    deployment = of(with_components(tmp_path, "model-convert"), "Deployment")
    (converts,) = deployment["spec"]["template"]["spec"]["initContainers"]
    (serves,) = deployment["spec"]["template"]["spec"]["containers"]
    assert converts["securityContext"] == serves["securityContext"]
    assert converts["image"] == serves["image"]
    environment, of_service = (
        {entry["name"]: entry["value"] for entry in container["env"]}
        for container in (converts, serves)
    )
    # The same model, precision and cache: the service finds what was converted.
    assert {**environment, "CYBERSOLVE_MODEL": converts["args"][-1]}.items() <= of_service.items()


@pytest.mark.parametrize("folder", [*OVERLAYS, *KSERVE])
def test_probes_ask_the_port_that_answers_under_load(folder: str) -> None:
    (pod,) = pods(built(folder))
    port, container = pod.settings.metrics_port, pod.container
    assert port is not None
    named = {entry["name"]: entry["containerPort"] for entry in container["ports"]}
    for kind in ("startup", "readiness", "liveness"):
        assert ({port: port} | named)[container[f"{kind}Probe"]["httpGet"]["port"]] == port
    assert container["readinessProbe"]["timeoutSeconds"] > 1
    assert container["readinessProbe"]["failureThreshold"] > 1


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
    dashboard = of(resources, "ConfigMap")
    assert json.loads(dashboard["data"]["cybersolve.json"])["title"] == "CyberSolve"


@pytest.mark.parametrize("folder", KSERVE)
def test_kserve_serves_under_the_name_that_clients_use(folder: str) -> None:
    resources = built(folder)
    service = of(resources, "InferenceService")
    (pod,) = pods(resources)
    assert pod.environment["CYBERSOLVE_NAME"] in ("{{.Name}}", service["metadata"]["name"])
    monitor = of(resources, "PodMonitor")["spec"]
    labels = service["metadata"]["labels"].items()  # KServe gives its pods those of the resource
    assert monitor["selector"]["matchLabels"].items() <= labels
    assert monitor["podMetricsEndpoints"][0]["portNumber"] == pod.settings.metrics_port


def test_the_runtime_of_kserve_takes_the_formats_that_the_service_reads() -> None:
    resources = built("kserve/runtime")
    formats = of(resources, "ServingRuntime")["spec"]["supportedModelFormats"]
    assert {int(one["version"]) for one in formats} == set(READABLE)
    asked = of(resources, "InferenceService")["spec"]["predictor"]["model"]["modelFormat"]
    assert int(asked["version"]) == FORMAT


@pytest.mark.ops
def test_custom_resources_fit_the_schemas_of_their_projects(schemas: Path, tmp_path: Path) -> None:
    everything = built("overlays/cpu") + built("kserve") + with_components(tmp_path, "gateway")
    custom = [resource for resource in everything if resource["kind"] in CUSTOM]
    assert {resource["kind"] for resource in custom} == set(CUSTOM)
    wrong = deepcopy(custom)
    for resource in wrong:
        resource["spec"] = {"mistaken": True, "parentRefs": "all", "groups": "all"}
    result = subprocess.run(
        ["node", "validate.mjs"],
        cwd=schemas, input=json.dumps(custom + wrong), capture_output=True, text=True, check=True,
    )  # fmt: skip
    faults = json.loads(result.stdout)
    assert faults[: len(custom)] == [""] * len(custom)
    assert all(faults[len(custom) :])
