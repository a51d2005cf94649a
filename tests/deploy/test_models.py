"""Each manifest has a model that its provider runs, and the memory that it needs."""

from __future__ import annotations

import pytest

from service.settings import Settings
from service.sizing import needs, providers
from tests.deploy.manifests import (
    KSERVE,
    OVERLAYS,
    Pod,
    built,
    model_in_image,
    needs_kubectl,
    needs_of,
    pods,
)
from tests.deploy.test_compose import needs_compose, services

GPU = "nvidia.com/gpu"


def holds_fp16(pod: Pod) -> bool:
    """Images for a GPU have a tag of their own."""
    return bool(pod.container["image"].endswith("-gpu"))


@needs_kubectl
@pytest.mark.parametrize("folder", [*OVERLAYS, *KSERVE])
def test_the_provider_runs_the_model_in_the_image(folder: str) -> None:
    (pod,) = pods(built(folder))
    manifest = model_in_image(gpu=holds_fp16(pod))
    if pod.settings.provider != "auto":
        assert pod.settings.provider in providers(manifest), manifest.precision
    gpus = int(pod.container["resources"]["limits"].get(GPU, "0"))
    assert (gpus > 0) == (pod.settings.provider == "cuda") == holds_fp16(pod)
    if gpus:
        assert pod.settings.workers == gpus  # an engine for each
    else:
        assert str(pod.settings.workers) == pod.container["resources"]["requests"]["cpu"]


@needs_kubectl
@pytest.mark.parametrize("folder", [*OVERLAYS, *KSERVE])
def test_the_pod_has_what_its_model_needs(folder: str) -> None:
    (pod,) = pods(built(folder))
    needed = needs_of(pod.environment | {"CYBERSOLVE_NAME": "n"}, gpu=holds_fp16(pod))
    assert pod.memory("requests") >= needed.loaded_bytes
    assert pod.memory("limits") >= needed.most_bytes
    probe = pod.container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= needed.start_s
    assert pod.settings.drain_timeout_s >= needed.drain_s
    assert pod.spec["terminationGracePeriodSeconds"] >= needed.grace_s


@needs_compose
@pytest.mark.parametrize(("name", "gpu"), [("cybersolve", False), ("gpu", True)])
def test_compose_gives_a_provider_the_model_that_it_runs(name: str, gpu: bool) -> None:
    service = services("gpu")[name]
    assert service["build"].get("args", {}).get("PROVIDER", "cpu") == ("gpu" if gpu else "cpu")
    settings = Settings.from_environment(service["environment"])
    if settings.provider != "auto":
        assert settings.provider in providers(model_in_image(gpu=gpu))
    assert (settings.provider == "cuda") == gpu
    if gpu:
        assert needs_of(service["environment"], gpu=True).engines == 1


def test_int8_on_a_gpu_would_be_found() -> None:
    """Such manifests were shipped once: the service refused every start, again and again."""
    assert "cuda" not in providers(model_in_image(gpu=False))
    assert "cuda" in providers(model_in_image(gpu=True))


def test_more_engines_need_more() -> None:
    manifest, settings = model_in_image(gpu=False), Settings()
    one, two = (needs(manifest, settings, engines=engines) for engines in (1, 2))
    assert one.loaded_bytes < two.loaded_bytes < two.most_bytes
    assert one.most_bytes < two.most_bytes
