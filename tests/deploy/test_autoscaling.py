"""Each autoscaling policy that ships, in a model of a fleet: a ramp, a burst, a metrics outage."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml

from tests.deploy.autoscaler import CAPACITY, Policy, Second, of_autoscaler, of_scaled_object, run
from tests.deploy.manifests import KUBERNETES, built, needs_kubectl, of
from tests.deploy.observability import scaling_queries

COMPONENTS = KUBERNETES / "components"
OF_KEDA = of_scaled_object(
    yaml.safe_load((COMPONENTS / "keda/scaledobject.yaml").read_text())["spec"]
)
OF_HPA = of_autoscaler(yaml.safe_load((COMPONENTS / "hpa/autoscaler.yaml").read_text())["spec"])
POLICIES = pytest.mark.parametrize("policy", [OF_KEDA, OF_HPA], ids=["keda", "hpa"])
MINUTE = 60


def refused_share(history: list[Second]) -> float:
    return sum(second.refused for second in history) / sum(second.arrivals for second in history)


def slow_seconds(history: list[Second]) -> list[int]:
    return [at for at, second in enumerate(history) if second.wait_s > 0.1 or second.refused]


@POLICIES
def test_a_ramp_is_followed(policy: Policy) -> None:
    """From half of what two replicas can do to all that ten can in ten minutes, and back."""
    peak = 10 * CAPACITY

    def load(now: int) -> float:
        return max(CAPACITY, peak * min(now, 20 * MINUTE - now) / (10 * MINUTE))

    history = run(policy, load, 40 * MINUTE, start=2)
    assert refused_share(history) < 0.001
    assert max(slow_seconds(history)) < 3 * MINUTE  # until the third replica
    assert history[-1].replicas < 6  # scaled down again


@POLICIES
def test_a_burst_is_answered_within_two_minutes(policy: Policy) -> None:
    """Six times as much from one second to the next."""

    def load(now: int) -> float:
        return CAPACITY * (6 if now >= 5 * MINUTE else 1)

    history = run(policy, load, 15 * MINUTE, start=2)
    assert min(slow_seconds(history)) >= 5 * MINUTE
    assert max(slow_seconds(history)) < 7 * MINUTE
    assert history[-1].replicas >= 6


@POLICIES
def test_load_that_comes_and_goes_does_not_flap(policy: Policy) -> None:
    """A minute of load, a minute of none: within the window, replicas stay."""

    def load(now: int) -> float:
        return 5 * CAPACITY if now // MINUTE % 2 else 0.0

    history = run(policy, load, 40 * MINUTE, start=2)
    assert max(slow_seconds(history)) < 2 * MINUTE  # the first time
    settled = [second.replicas for second in history[20 * MINUTE :]]
    assert max(settled) - min(settled) <= 2


@POLICIES
def test_a_steady_load_below_the_knee_keeps_its_replicas(policy: Policy) -> None:
    def load(now: int) -> float:
        return 5 * CAPACITY

    history = run(policy, load, 60 * MINUTE, start=6)
    assert not slow_seconds(history)
    too_many_rows = replace(policy, rows=replace(policy.rows, target=0.5))  # as it was once
    assert slow_seconds(run(too_many_rows, load, 60 * MINUTE, start=6))


@POLICIES
def test_no_outage_of_the_metrics_scales_down_under_load(policy: Policy) -> None:
    outage = range(15 * MINUTE, 30 * MINUTE)

    def load(now: int) -> float:
        return 6 * CAPACITY

    history = run(policy, load, 40 * MINUTE, start=8, outage=outage)
    before = history[outage.start - 1].replicas
    assert min(history[at].replicas for at in outage) >= before
    assert refused_share(history) == 0


def test_a_static_fallback_would_scale_down_under_load() -> None:
    """Such a policy was shipped once, and KEDA before 2.17 has it: it drops `behavior`."""
    assert OF_KEDA.fallback is not None
    failures, replicas, never_fewer = OF_KEDA.fallback
    assert never_fewer
    static = replace(OF_KEDA, fallback=(failures, replicas, False))
    outage = range(15 * MINUTE, 30 * MINUTE)
    history = run(static, lambda _: 6 * CAPACITY, 40 * MINUTE, start=8, outage=outage)
    assert min(history[at].replicas for at in outage) == replicas
    assert refused_share(history) > 0


def test_both_policies_are_the_same() -> None:
    assert replace(OF_KEDA, fallback=None) == OF_HPA


def test_the_adapter_asks_what_keda_asks() -> None:
    rules = yaml.safe_load((COMPONENTS / "hpa/adapter-rules.yaml").read_text())["rules"]["external"]
    asked = [rule["metricsQuery"].replace("<<.LabelMatchers>>, ", "") for rule in rules]
    assert [re.sub(r"\s+", " ", query).strip() for query in asked] == [
        re.sub(r"\s+", " ", query).strip() for query in scaling_queries()
    ]
    names = [rule["name"]["as"] for rule in rules]
    scaler = yaml.safe_load((COMPONENTS / "hpa/autoscaler.yaml").read_text())["spec"]
    assert [one["external"]["metric"]["name"] for one in scaler["metrics"]] == names


@needs_kubectl
@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("overlays/cpu", "cybersolve"),
        ("overlays/gpu", "cybersolve"),
        ("kserve", "cybersolve-predictor"),
        ("kserve/runtime", "my-t5-predictor"),
    ],
)
def test_the_policy_scales_the_deployment_and_no_other_does(folder: str, target: str) -> None:
    resources = built(folder)
    scaled = of(resources, "ScaledObject")["spec"]
    assert of_scaled_object(scaled) == OF_KEDA
    assert scaled["scaleTargetRef"]["name"] == target
    assert not [one for one in resources if one["kind"] == "HorizontalPodAutoscaler"]
    if folder.startswith("kserve"):
        service = of(resources, "InferenceService")
        # KServe would add an autoscaler by CPU.
        assert service["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    else:
        assert of(resources, "Deployment")["metadata"]["name"] == target


def test_a_missing_series_is_an_error_and_no_load_of_zero() -> None:
    spec = yaml.safe_load((COMPONENTS / "keda/scaledobject.yaml").read_text())["spec"]
    for trigger in spec["triggers"]:
        assert trigger["metadata"]["ignoreNullValues"] == "false"
