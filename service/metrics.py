"""Define every metric of the service, in base units; docs/metrics.md describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from engine.bundle import Manifest
from equations.verify import Verdict
from service import processes
from service.contracts import Started
from service.logs import dropped_lines
from service.processes import Pids
from service.solving import Solution, Source

Labelled = TypeVar("Labelled", Counter, Histogram)
_SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    30, 60, 120, 300, 600,  # the longest deadline that a request may have
)  # fmt: skip
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_TOKENS = (8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_ENDS = ("crashed", "out_of_memory", "hung")  # the reasons for which a process ends unasked


def _onnxruntime_version() -> str:
    """Return the version of ONNX Runtime, which has two distributions, without importing it."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            return version(name)
    return "unknown"


def by_labels(metric: Labelled) -> Callable[..., Labelled]:
    """Return a function from labels to series. It caches them, because a lookup costs more than to
    count.
    """
    return lru_cache(maxsize=None)(metric.labels)


class _DroppedLines(Collector):
    """A collector of the number of dropped log lines, which the log counts."""

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "cybersolve_log_lines_dropped", "Log lines that were not written.", dropped_lines()
        )


class _Maker:
    """Make metrics of one registry, with the prefix that all names have."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"cybersolve_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"cybersolve_{name}", text, labels, registry=self._registry)

    def histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        name = f"cybersolve_{name}"
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)


class Metrics:
    """Implement `service.contracts.Observer`, each with a registry of its own."""

    def __init__(self, engine_pids: Pids = dict) -> None:
        """`engine_pids` returns the current processes of the engines, by engine."""
        registry = self._registry = CollectorRegistry()
        registry.register(_DroppedLines())
        processes.register(registry, engine_pids)
        make = _Maker(registry)
        self._add_requests(make)
        self._add_questions(make)
        self._add_engines(make)
        self._add_processes(make)
        self._add_installation(make)

    def _add_requests(self, make: _Maker) -> None:
        self._requests = by_labels(
            make.counter("requests", "HTTP requests answered.", "route", "status")
        )
        self._request_duration = by_labels(
            make.histogram(
                "request_duration_seconds", "From the first byte read to the last written.", "route"
            )
        )
        self.in_flight = make.gauge("in_flight_requests", "HTTP requests being handled.")
        self._refused_connections = make.counter(
            "refused_connections", "Connections over the limit, closed unread."
        )

    def _add_questions(self, make: _Maker) -> None:
        self._queue_wait = make.histogram("queue_wait_seconds", "From admission to an engine.")
        self._queue_depth = make.gauge("queue_depth", "Questions that wait for an engine.")
        self.queue_limit = make.gauge("queue_limit", "Questions that may wait; more are refused.")
        self._rejected = by_labels(
            make.counter("rejected", "Questions refused before any work.", "reason")
        )
        self._reused = by_labels(
            make.counter("reused", "Answers that were not computed anew.", "how")
        )
        self._abandoned = by_labels(
            make.counter(
                "abandoned", "Questions whose caller left or whose deadline passed.", "reason"
            )
        )
        for reason in ("left", "deadline"):
            self._abandoned(reason)
        self._verdicts = by_labels(make.counter("verdicts", "Answers given.", "verdict", "source"))
        self._second_tries = by_labels(
            make.counter("second_tries", "Questions whose first answer was wrong.", "outcome")
        )

    def _add_engines(self, make: _Maker) -> None:
        self._batch_size = make.histogram("batch_size", "Rows in a decoding step.", buckets=_ROWS)
        self._batch_tokens = make.histogram(
            "batch_tokens", "Source tokens encoded together.", buckets=_TOKENS
        )
        inference = make.histogram("inference_seconds", "Time of a question by phase.", "phase")
        self._encode, self._decode = inference.labels("encode"), inference.labels("decode")
        self._busy = make.counter("busy_seconds", "Time that engines computed.")
        self._row_seconds = make.counter(
            "row_seconds", "Time that rows were computed, over all rows."
        )
        self._tokens = make.counter("generated_tokens", "Tokens generated.")
        self.engines = make.gauge("engines", "Engines side by side.")
        self.rows = make.gauge("rows", "Rows of all engines together.")
        self.engines_up = make.gauge("engines_up", "Engines that take questions.")
        self.engine_up = make.gauge("engine_up", "1 while every engine takes questions.")
        self._engine_ends = by_labels(
            make.counter("engine_ends", "Engines that ended unasked.", "reason")
        )
        for reason in _ENDS:
            self._engine_ends(reason)

    def _add_processes(self, make: _Maker) -> None:
        self.http_processes = make.gauge("http_processes", "HTTP processes that run.")
        self.http_processes.set(1)
        self._process_ends = by_labels(
            make.counter("http_process_ends", "HTTP processes that ended unasked.", "reason")
        )
        for reason in _ENDS:
            self._process_ends(reason)

    def _add_installation(self, make: _Maker) -> None:
        self._model = make.gauge(
            "model_info", "The model served.", "name", "version", "precision", "provider"
        )
        self._kernels = make.gauge("kernels_info", "The kernels that engines run.", "kernels")
        build = make.gauge("build_info", "The installation.", "version", "python", "onnxruntime")
        build.labels(version("cybersolve"), python_version(), _onnxruntime_version()).set(1)

    def model_loaded(self, manifest: Manifest, started: Started) -> None:
        """Set the labels of the model, and of the provider and kernels that run it."""
        labels = (manifest.name, manifest.version, manifest.precision, started.provider)
        self._model.labels(*labels).set(1)
        self._kernels.labels(started.kernels).set(1)

    def request(self, route: str, status: int, duration_s: float) -> None:
        """Count an answered request. `route` is a documented route, or one name for all others."""
        self._requests(route, status).inc()
        self._request_duration(route).observe(duration_s)

    def answered(self, solution: Solution) -> None:
        self._verdicts(solution.verdict, solution.source).inc()
        if solution.tries > 1:
            mended = solution.verdict is Verdict.CORRECT and solution.source is Source.MODEL
            self._second_tries("mended" if mended else "failed").inc()

    def connection_refused(self) -> None:
        """Count a connection refused over the limit."""
        self._refused_connections.inc()

    def process_ended(self, reason: str) -> None:
        """Count an HTTP process that crashed or hung."""
        self._process_ends(reason).inc()

    # -- Observer --------------------------------------------------------------------------------

    def queued(self, depth: int) -> None:
        self._queue_depth.set(depth)

    def refused(self, reason: str) -> None:
        self._rejected(reason).inc()

    def abandoned(self, reason: str) -> None:
        self._abandoned(reason).inc()

    def reused(self, how: str) -> None:
        self._reused(how).inc()

    def joined(self, waits_s: list[float], lengths: list[int]) -> None:
        for wait_s in waits_s:
            self._queue_wait.observe(wait_s)
        self._batch_tokens.observe(sum(lengths))

    def stepped(self, rows: int, busy_s: float) -> None:
        self._batch_size.observe(rows)
        self._busy.inc(busy_s)
        self._row_seconds.inc(rows * busy_s)

    def finished(self, encode_s: float, decode_s: float, tokens: int) -> None:
        self._encode.observe(encode_s)
        self._decode.observe(decode_s)
        self._tokens.inc(tokens)

    def engine_ended(self, reason: str) -> None:
        self._engine_ends(reason).inc()

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def families(self) -> list[Metric]:
        """Return all metrics as they are now, to be combined with those of other processes."""
        return list(self._registry.collect())
