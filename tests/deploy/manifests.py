"""The resources that kustomize builds from deploy/kubernetes, and their pods."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.bundle import Manifest, read_manifest
from service.runtime import layout
from service.settings import PREFIX, Settings
from service.sizing import MIB, Needs, needs
from tests.deploy.observability import DEPLOY

KUBERNETES = DEPLOY / "kubernetes"
VERSIONS = ("1.29", "1.33", "1.37")
OVERLAYS = ("overlays/cpu", "overlays/gpu", "overlays/hpa")
KSERVE = ("kserve", "kserve/runtime")
# Components that no overlay has: each is tried on the base.
OPTIONAL = (
    "api-keys", "gateway", "ingress", "model-convert", "model-image", "model-volume", "tracing"
)  # fmt: skip
# What an InferenceService's predictor has beyond a pod.
_KSERVE_ONLY = ("minReplicas", "maxReplicas", "model")
_UNITS = {"Mi": MIB, "Gi": 1024 * MIB}

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="needs kubectl, whose kustomize builds the manifests"
)
Resource = dict[str, Any]


def built(folder: Path | str) -> list[Resource]:
    result = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    return list(yaml.safe_load_all(result.stdout))


def with_components(folder: Path, *names: str) -> list[Resource]:
    """The base with these components, put together in `folder`."""
    up = os.path.relpath(KUBERNETES, folder)
    kustomization = {
        "resources": [f"{up}/base"],
        "components": [f"{up}/components/{name}" for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return built(folder)


def of(resources: list[Resource], kind: str) -> Resource:
    (found,) = [resource for resource in resources if resource["kind"] == kind]
    return found


@dataclass(frozen=True)
class Pod:
    """A pod of the service, with its first container. `owner` is the resource that makes it."""

    owner: str
    spec: Resource

    @property
    def container(self) -> Resource:
        found: Resource = self.spec["containers"][0]
        return found

    @property
    def environment(self) -> dict[str, str]:
        return {entry["name"]: entry["value"] for entry in self.container["env"]}

    @property
    def settings(self) -> Settings:
        """The settings with which the service starts there; raises for one that it refuses."""
        named = {"{{.Name}}": "name"}  # KServe puts the name in
        return Settings.from_environment(
            {name: named.get(value, value) for name, value in self.environment.items()}
        )

    def memory(self, which: str) -> int:
        quantity = self.container["resources"][which]["memory"]
        return int(quantity[:-2]) * _UNITS[quantity[-2:]]


def pods(resources: list[Resource]) -> Iterator[Pod]:
    for resource in resources:
        match resource["kind"]:
            case "Deployment":
                yield Pod("Deployment", resource["spec"]["template"]["spec"])
            case "ServingRuntime":  # the rest of its pod is the InferenceService's
                predictor = of(resources, "InferenceService")["spec"]["predictor"]
                yield Pod("ServingRuntime", {**predictor, **resource["spec"]})
            case "InferenceService" if "containers" in resource["spec"]["predictor"]:
                yield Pod("InferenceService", resource["spec"]["predictor"])


def as_pod(spec: Resource) -> Resource:
    """A pod that has of a predictor or runtime what Kubernetes knows."""
    beyond = (*_KSERVE_ONLY, "supportedModelFormats", "protocolVersions")
    plain = {name: value for name, value in spec.items() if name not in beyond}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": plain}


def model_in_image(*, gpu: bool) -> Manifest:
    """The manifest of the bundle that an image holds; deploy/image/model.sh puts it there."""
    shipped = read_manifest(Settings().model)
    return replace(shipped, precision="fp16") if gpu else shipped


def needs_of(environment: Mapping[str, str], *, gpu: bool) -> Needs:
    """Return the needs of a service with the model of its image and this environment."""
    known = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    settings, manifest = Settings.from_environment(known), model_in_image(gpu=gpu)
    return needs(manifest, settings, engines=layout(manifest, settings, cpus=4)[0])
