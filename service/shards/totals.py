"""Combine the metrics of all processes into those of the service."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import Metric, generate_latest
from prometheus_client.samples import Sample

_GROWING = ("counter", "histogram")
_PROCESS = "process"
_LEAST = frozenset({"cybersolve_engine_up"})
_GREATEST = frozenset({"cybersolve_memory_limit_bytes"})


def labelled(process: str, families: Iterable[Metric]) -> list[Metric]:
    """Add the label `process` to the figures of single processes, which have no meaning as a sum.

    These are `process_*` and the metrics that have the label `engine`.
    """
    return [
        _with_samples(family, (_labelled(sample, process) for sample in family.samples))
        for family in families
    ]


def growing(families: Iterable[Metric]) -> list[Metric]:
    """Return the metrics that only grow; those of an ended process are part of later totals."""
    return [family for family in families if family.type in _GROWING]


def combined(sources: Sequence[Iterable[Metric]]) -> list[Metric]:
    """Return one family for each name: samples with equal labels are one.

    Counts, histograms and most gauges are added. `_info` and the memory limit are those of any
    process; a state is the least, so that it is 1 only if it is 1 everywhere.
    """
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in (family for source in sources for family in source):
        families.setdefault(family.name, family)
        seen = values.setdefault(family.name, {})
        for sample in family.samples:
            key = sample.name, tuple(sorted(sample.labels.items()))
            merge = _merge_of(sample.name)
            seen[key] = merge(seen[key], sample.value) if key in seen else sample.value
    return [
        _with_samples(
            family,
            (Sample(name, dict(labels), value) for (name, labels), value in values[named].items()),
        )
        for named, family in families.items()
    ]


def exposition(families: Sequence[Metric]) -> bytes:
    """Return `families` in Prometheus' text format."""
    return generate_latest(_Collected(families))


class _Collected:
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _merge_of(sample_name: str) -> Callable[[float, float], float]:
    if sample_name in _LEAST or sample_name.endswith("_created"):
        return min
    if sample_name in _GREATEST or sample_name.endswith("_info"):
        return max
    return operator.add


def _labelled(sample: Sample, process: str) -> Sample:
    if sample.name.startswith("process_") or "engine" in sample.labels:
        return sample._replace(labels={_PROCESS: process, **sample.labels})
    return sample


def _with_samples(family: Metric, samples: Iterable[Sample]) -> Metric:
    copy = Metric(family.name, family.documentation, family.type)
    copy.samples = list(samples)
    return copy
