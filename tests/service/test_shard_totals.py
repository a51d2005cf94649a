"""The metrics of several processes as those of one service."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from engine.bundle import load_manifest
from service.contracts import Started
from service.metrics import Metrics
from service.shards.totals import combined, exposition, growing, labelled


def series(text: bytes) -> dict[str, float]:
    """Return the value of each series, by its name with labels."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def processes(*many: Metrics) -> dict[str, float]:
    named = [labelled(str(index), one.families()) for index, one in enumerate(many)]
    return series(exposition(combined(named)))


def test_counts_are_added_and_states_are_the_least(bundle: Path) -> None:
    first, second = Metrics(lambda: {"0": 1}), Metrics(lambda: {"0": 1})
    for metrics, up in ((first, 1), (second, 0)):
        metrics.request("/solve", 200, 0.02)
        metrics.queued(3)
        metrics.engine_up.set(up)
        metrics.model_loaded(load_manifest(bundle), Started(8, "CPUExecutionProvider", "avx2"))
    first.request("/solve", 500, 0.02)
    found = processes(first, second)
    assert found["cybersolve_requests_total route=/solve status=200"] == 2
    assert found["cybersolve_requests_total route=/solve status=500"] == 1
    assert found["cybersolve_request_duration_seconds_count route=/solve"] == 3
    assert found["cybersolve_request_duration_seconds_bucket le=0.025 route=/solve"] == 3
    assert found["cybersolve_queue_depth"] == 6
    assert found["cybersolve_engine_up"] == 0
    assert found["cybersolve_kernels_info kernels=avx2"] == 1
    assert found["cybersolve_http_processes"] == 2


def test_figures_of_single_processes_say_whose_they_are() -> None:
    metrics = Metrics(lambda: {"0": 1})
    found = processes(metrics, metrics)
    for process in "01":
        assert found[f"process_resident_memory_bytes process={process}"] > 0
        assert f"cybersolve_engine_cpu_seconds_total engine=0 process={process}" in found
    assert "cybersolve_memory_limit_bytes" in found


def test_what_an_ended_process_counted_stays_and_its_state_goes() -> None:
    ended, running = Metrics(), Metrics()
    for metrics in (ended, running):
        metrics.request("/solve", 500, 0.25)
    ended.queued(3)
    kept = growing(ended.families())
    found = series(exposition(combined([kept, running.families()])))
    assert found["cybersolve_requests_total route=/solve status=500"] == 2
    assert found["cybersolve_request_duration_seconds_sum route=/solve"] == 0.5
    assert found["cybersolve_queue_depth"] == 0
    created = "cybersolve_requests_created route=/solve status=500"
    assert found[created] == series(ended.exposition())[created]


def test_one_process_alone_is_unchanged() -> None:
    metrics = Metrics()
    metrics.request("/solve", 200, 0.02)
    alone = series(metrics.exposition())
    found = series(exposition(combined([metrics.families()])))
    measured = {name for name in alone if name.startswith("process_")}  # differ by the moment
    assert found.keys() == alone.keys()
    assert all(found[name] == alone[name] for name in alone.keys() - measured)
