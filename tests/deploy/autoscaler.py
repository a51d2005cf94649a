"""A model of a fleet under an autoscaling policy, read from the manifests that ship.

The fleet is fluid: replicas share the arrivals evenly, and what exceeds their capacity waits. A
replica's latency by load was measured with model 1.1.0. The autoscaler is Kubernetes' algorithm
(https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/): every 15 s it
takes the highest demand of all metrics, scales down only to the highest demand of the stabilization
window, and obeys its policies; with a metric missing it does not scale down. KEDA answers for a
missing metric once it has failed often enough.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

CAPACITY = 340.0  # questions/s of a replica at its knee
MOST_WAITING = 1024.0  # CYBERSOLVE_MAX_QUEUE
ROWS = 64.0  # of two engines
# Questions/s of a replica, and seconds that one takes in a row: the server of decision 30.
_INFERENCE = ((0.0, 0.0094), (70.0, 0.0121), (141.0, 0.0163), (282.0, 0.040), (412.0, 0.094))
_START_S = 20  # to place, pull and warm up a pod
_SYNC_S = 15
_WINDOW_S = 60  # of the queries' rates
_TOLERANCE = 0.1

Load = Callable[[int], float]


@dataclass(frozen=True)
class Metric:
    value: bool  # a ratio to the target; otherwise the sum over replicas, and the target is of each
    target: float


@dataclass(frozen=True)
class Policy:
    """An autoscaling policy. `fallback` is KEDA's: failures, replicas, and never fewer than now."""

    least: int
    most: int
    queue_wait: Metric
    rows: Metric
    up_share: float
    down_share: float
    down_window_s: int
    fallback: tuple[int, int, bool] | None = None


def of_scaled_object(spec: dict[str, Any]) -> Policy:
    wait, rows = spec["triggers"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    fallback = spec["fallback"]
    never_fewer = fallback.get("behavior") == "currentReplicasIfHigher"
    queue_wait, rows_in_use = (
        Metric(one["metricType"] == "Value", float(one["metadata"]["threshold"]))
        for one in (wait, rows)
    )
    return Policy(
        spec["minReplicaCount"], spec["maxReplicaCount"], queue_wait, rows_in_use,
        *_shares(behavior),
        fallback=(fallback["failureThreshold"], fallback["replicas"], never_fewer),
    )  # fmt: skip


def of_autoscaler(spec: dict[str, Any]) -> Policy:
    targets = [one["external"]["target"] for one in spec["metrics"]]
    queue_wait, rows = (
        Metric(one["type"] == "Value", _quantity(one.get("value") or one["averageValue"]))
        for one in targets
    )
    shares = _shares(spec["behavior"])
    return Policy(spec["minReplicas"], spec["maxReplicas"], queue_wait, rows, *shares)


def _quantity(text: str) -> float:
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _shares(behavior: dict[str, Any]) -> tuple[float, float, int]:
    (up,), (down,) = behavior["scaleUp"]["policies"], behavior["scaleDown"]["policies"]
    assert (up["type"], up["periodSeconds"]) == ("Percent", _SYNC_S)
    assert (down["type"], down["periodSeconds"]) == ("Percent", 60)
    window_s = behavior["scaleDown"]["stabilizationWindowSeconds"]
    return up["value"] / 100, down["value"] / 100, window_s


@dataclass
class Second:
    """One second of a run."""

    arrivals: float
    replicas: int
    wait_s: float
    refused: float


@dataclass
class Fleet:
    ready: int
    starting: list[int] = field(default_factory=list)  # when they are ready
    waiting: float = 0.0

    @property
    def wanted(self) -> int:
        return self.ready + len(self.starting)

    def second(self, now: int, arrivals: float) -> tuple[Second, float, float]:
        """Serve one second; also return the wait and the rows in use that metrics will show."""
        self.ready += sum(at <= now for at in self.starting)
        self.starting = [at for at in self.starting if at > now]
        capacity = self.ready * CAPACITY
        served = min(capacity, self.waiting + arrivals)
        left = self.waiting + arrivals - served
        refused = max(0.0, left - self.ready * MOST_WAITING)
        self.waiting = left - refused
        wait_s = self.waiting / capacity
        rows = min(self.ready * ROWS, served * inference_s(served / self.ready))
        return Second(arrivals, self.ready, wait_s, refused), wait_s, rows

    def scale(self, now: int, replicas: int) -> None:
        while self.wanted < replicas:
            self.starting.append(now + _START_S)
        while self.wanted > replicas:
            if self.starting:
                self.starting.pop()
            else:
                self.ready -= 1


def inference_s(rate: float) -> float:
    """Interpolate the measured time of one question in a row."""
    for (low, at_low), (high, at_high) in pairwise(_INFERENCE):
        if rate <= high:
            return at_low + (at_high - at_low) * (rate - low) / (high - low)
    return _INFERENCE[-1][1]


@dataclass
class Autoscaler:
    policy: Policy
    failures: int = 0
    recommended: deque[tuple[int, int]] = field(default_factory=deque)
    counts: deque[tuple[int, int]] = field(default_factory=deque)

    def replicas(self, now: int, wanted: int, ready: int, metrics: Sequence[float] | None) -> int:
        """Return the replicas to have; `metrics` is None while there is no answer."""
        self.failures = 0 if metrics is not None else self.failures + _SYNC_S // 5
        demand = self._demand(wanted, ready, metrics)
        if demand is None:
            return wanted
        policy = self.policy
        self.recommended.append((now, demand))
        while self.recommended[0][0] <= now - policy.down_window_s:
            self.recommended.popleft()
        self.counts.append((now, wanted))
        while self.counts[0][0] < now - 60:
            self.counts.popleft()
        if demand > wanted:
            most = math.ceil(wanted * (1 + policy.up_share))
            return min(demand, most, policy.most)
        held = max(demand for _, demand in self.recommended)
        minute_ago = max(count for _, count in self.counts)
        floor = math.ceil(minute_ago * (1 - policy.down_share))
        return min(wanted, max(held, floor, policy.least))

    def _demand(self, wanted: int, ready: int, metrics: Sequence[float] | None) -> int | None:
        """Return the replicas that the metrics ask for, or None where none may be inferred."""
        policy = self.policy
        if metrics is None:
            if policy.fallback is None or self.failures <= policy.fallback[0]:
                return None
            _, replicas, never_fewer = policy.fallback
            return max(replicas, wanted) if never_fewer else replicas
        demands = []
        for value, metric in zip(metrics, (policy.queue_wait, policy.rows), strict=True):
            ratio = value / metric.target / (1 if metric.value else wanted)
            unchanged = abs(ratio - 1) <= _TOLERANCE
            demands.append(
                wanted if unchanged else math.ceil(ratio * (ready if metric.value else wanted))
            )
        return max(policy.least, *demands)


def run(
    policy: Policy, load: Load, seconds: int, *, start: int, outage: range = range(0)
) -> list[Second]:
    """Run the fleet under `load` (questions/s at each second); `outage`: metrics have no answer."""
    fleet, scaler = Fleet(start), Autoscaler(policy, recommended=deque([(0, start)]))
    waits: deque[float] = deque(maxlen=_WINDOW_S)
    rows: deque[float] = deque(maxlen=_WINDOW_S)
    history = []
    for now in range(seconds):
        second, wait_s, used = fleet.second(now, load(now))
        history.append(second)
        waits.append(wait_s)
        rows.append(used)
        if now % _SYNC_S == 0:
            p90 = sorted(waits)[math.ceil(0.9 * len(waits)) - 1]
            metrics = None if now in outage else (p90, sum(rows) / len(rows) / ROWS)
            fleet.scale(now, scaler.replicas(now, fleet.wanted, fleet.ready, metrics))
    return history
