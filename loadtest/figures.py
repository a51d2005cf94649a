"""Turn samples into figures: percentiles, steps of load, and the knee. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from loadtest.samples import TOO_MANY, Sample
from loadtest.schedule import Step

QUANTILES = (0.5, 0.9, 0.99)
Series = list[tuple[float, float]]


@dataclass(frozen=True)
class StepFigures:
    """One step of load. Throughput in requests a second answered as expected; times in ms."""

    load: float
    requests: int
    throughput: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    queue_ms: float  # mean of the answers that have it
    inference_ms: float  # likewise
    refused: int  # 429, as expected of a full service
    failed: int  # anything else that was not expected


def percentile(values: Sequence[float], quantile: float) -> float:
    """Return the nearest-rank percentile, one of `values`. Raises `ValueError` for none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(quantile * len(values)) - 1)]


def by_step(samples: Sequence[Sample], plan: Sequence[Step]) -> list[StepFigures]:
    """Return the figures of each step with requests: latency of those due in it, throughput of
    those answered in it.
    """
    return [
        _of(step, due, sum(s.ok and step.start_s <= s.done_s < step.end_s for s in samples))
        for step in plan
        if (due := [s for s in samples if step.start_s <= s.due_s < step.end_s])
    ]


def _of(step: Step, samples: Sequence[Sample], done: int) -> StepFigures:
    good = [sample for sample in samples if sample.ok]
    refused = sum(sample.status == TOO_MANY for sample in samples)
    # Latency includes failures: without time-outs the service would look better than it is. It
    # excludes rejections, which take no time and would make a full service look fast.
    timed = [sample for sample in samples if sample.status != TOO_MANY] or samples
    latencies = [sample.latency_ms for sample in timed]
    p50, p90, p99 = (percentile(latencies, quantile) for quantile in QUANTILES)
    return StepFigures(
        load=step.load,
        requests=len(samples),
        throughput=done / (step.end_s - step.start_s),
        mean_ms=fmean(latencies),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=max(latencies),
        queue_ms=_mean([s.queue_ms for s in good if s.queue_ms is not None]),
        inference_ms=_mean([s.inference_ms for s in good if s.inference_ms is not None]),
        refused=refused,
        failed=len(samples) - len(good) - refused,
    )


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else 0.0


def knee(figures: Sequence[StepFigures]) -> StepFigures | None:
    """Return the step where latency starts to rise faster than throughput.

    With both as shares of their maximum, it is where throughput exceeds latency by most: the
    difference curve of Satopaa et al., "Finding a Kneedle in a Haystack" (ICDCS Workshops 2011). It
    needs steps on both sides: where the last step was still easy, the knee lies beyond it.
    """
    throughput = max((step.throughput for step in figures), default=0.0) or 1.0
    latency = max((step.p90_ms for step in figures), default=0.0) or 1.0
    return max(
        figures,
        key=lambda step: step.throughput / throughput - step.p90_ms / latency,
        default=None,
    )


def over_time(samples: Sequence[Sample], bin_s: float) -> dict[float, Series]:
    """Return (time, latency in ms) for each quantile, by the time when requests were due."""
    bins: dict[int, list[float]] = {}
    for sample in samples:
        bins.setdefault(int(sample.due_s / bin_s), []).append(sample.latency_ms)
    return {
        quantile: [((i + 0.5) * bin_s, percentile(bins[i], quantile)) for i in sorted(bins)]
        for quantile in QUANTILES
    }


def statuses(samples: Sequence[Sample]) -> dict[str, int]:
    """Count the statuses of each path."""
    counts = Counter(f"{sample.path} {sample.status or 'no answer'}" for sample in samples)
    return dict(sorted(counts.items()))
